/* A plugin whose table is changed by macros. */
#include <stddef.h>

#include "realsafe_plugin.h"

#ifndef MAGIC
#define MAGIC REALSAFE_MAGIC
#endif
#ifndef MAJOR
#define MAJOR REALSAFE_MAJOR
#endif
#ifndef MINOR
#define MINOR REALSAFE_MINOR
#endif
#ifndef NEEDS
#define NEEDS 0
#endif
#ifndef SIZE
#define SIZE sizeof(RealsafePlugin)
#endif
#ifndef NAME
#define NAME "broken"
#endif
#ifndef ID
#define ID "upside-down"
#endif
#ifndef COMPONENT_SIZE
#define COMPONENT_SIZE sizeof(RealsafeComponent)
#endif
#ifndef FORWARD
#define FORWARD forward
#endif
#ifndef GRADIENT
#define GRADIENT REALSAFE_GRADIENT_IDENTITY
#endif
#ifndef COUNT
#define COUNT 1
#endif
#ifndef PARAMETER_KIND
#define PARAMETER_KIND REALSAFE_COUNT
#endif
#ifndef MAXIMUM
#define MAXIMUM 5
#endif
#ifndef ENTRY
#define ENTRY realsafe_plugin_v1
#endif
#ifndef TABLE
#define TABLE &PLUGIN.plugin
#endif

#ifdef UNDEFINED
extern int not_there(void);
#endif

static RealsafeStatus create(const RealsafeHost *host, const RealsafeValue *const *values, uint64_t count,
                             void **instance) {
    (void)host, (void)values, (void)count, (void)instance;
#ifdef UNDEFINED
    return not_there();
#endif
    return REALSAFE_OK;
}

static void destroy(void *instance) { (void)instance; }

static RealsafeStatus forward(void *instance, const RealsafeHost *host, const RealsafeShape *shape, uint32_t rows,
                              const float *images, float *output) {
    (void)instance, (void)host, (void)shape, (void)rows, (void)images, (void)output;
    return REALSAFE_OK;
}

RealsafeStatus (*const USED)(void *, const RealsafeHost *, const RealsafeShape *, uint32_t, const float *, float *) =
    forward;

static const RealsafeParameter PARAMETER = {sizeof PARAMETER, PARAMETER_KIND, REALSAFE_LITERAL("depth"),
    REALSAFE_LITERAL(""), REALSAFE_LITERAL(""), REALSAFE_DEFAULT, REALSAFE_LITERAL("1"), 1, MAXIMUM, NULL, 0};
static const RealsafeParameter *const PARAMETERS[] = {&PARAMETER};
static const RealsafeDefense DEFENSE = {sizeof DEFENSE, GRADIENT, create, destroy, FORWARD, NULL};
static const RealsafeComponent COMPONENT = {COMPONENT_SIZE, REALSAFE_KIND_DEFENSE, 1, REALSAFE_LITERAL(ID),
    REALSAFE_LITERAL(""), REALSAFE_LITERAL(""), PARAMETERS, 1, &DEFENSE};
static const RealsafeComponent *const COMPONENTS[] = {&COMPONENT, &COMPONENT};

/* A table that may claim to be longer than the host knows. */
static const struct {
    RealsafePlugin plugin;
    uint64_t future[4];
} PLUGIN = {{SIZE, MAGIC, MAJOR, MINOR, NEEDS, REALSAFE_LITERAL(NAME), REALSAFE_LITERAL("1"), REALSAFE_LITERAL("MIT"),
    REALSAFE_LITERAL(""), COMPONENTS, COUNT, REALSAFE_LITERAL("home")}, {0}};

const RealsafePlugin *ENTRY(uint32_t host_minor) {
    (void)host_minor;
    return TABLE;
}
