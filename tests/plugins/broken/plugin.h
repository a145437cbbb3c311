/* A plugin with one attack that does nothing, as far as the file that includes it does not say otherwise. */
#include "realsafe_plugin.h"

#include <stddef.h>

#ifndef MAGIC
#define MAGIC REALSAFE_MAGIC
#endif
#ifndef MINOR
#define MINOR REALSAFE_MINOR
#endif
#ifndef NEEDS_MINOR
#define NEEDS_MINOR 0
#endif
#ifndef SIZE
#define SIZE sizeof(RealsafePlugin)
#endif
#ifndef NAME
#define NAME "broken"
#endif
#ifndef ID
#define ID "does-nothing"
#endif
#ifndef INTERFACE
#define INTERFACE &functions
#endif
#ifndef COMPONENTS
#define COMPONENTS &component
#endif
#ifndef ENTRY
#define ENTRY realsafe_plugin_v1
#endif
#ifndef TABLE
#define TABLE &plugin.table
#endif

static RealsafeStatus plan(const RealsafeHost *host, const RealsafeValue *const *values, uint64_t value_count,
                           RealsafePlan *plan)
{
    (void)host;
    (void)values;
    (void)value_count;
    plan->steps = 1;
    plan->start = plan->step = (RealsafeCost){ 0, 0, 0 };
    return REALSAFE_OK;
}

static RealsafeStatus create(const RealsafeHost *host, const RealsafeProblem *problem,
                             const RealsafeValue *const *values, uint64_t value_count, void **instance)
{
    static char nothing;
    (void)host;
    (void)problem;
    (void)values;
    (void)value_count;
    *instance = &nothing;
    return REALSAFE_OK;
}

static void destroy(void *instance)
{
    (void)instance;
}

static uint64_t state_bytes(void *instance)
{
    (void)instance;
    return 0;
}

static RealsafeStatus step(void *instance, const RealsafeHost *host, const RealsafeBatch *batch, float *iterates,
                           uint8_t *state)
{
    (void)instance;
    (void)host;
    (void)batch;
    (void)iterates;
    (void)state;
    return REALSAFE_OK;
}

static const RealsafeAttack functions = {
    .size = sizeof functions,
    .access = REALSAFE_ACCESS_LABELS,
    .norms = REALSAFE_LINF | REALSAFE_L2,
    .goals = REALSAFE_UNTARGETED,
    .plan = plan,
    .create = create,
    .destroy = destroy,
    .state_bytes = state_bytes,
    .start = step,
    .step = step,
};

static const RealsafeComponent component = {
    .size = sizeof component,
    .kind = REALSAFE_KIND_ATTACK,
    .revision = 1,
    .id = REALSAFE_LITERAL(ID),
    .documentation = REALSAFE_LITERAL("Does nothing."),
    .example = REALSAFE_LITERAL(""),
    .interface = INTERFACE,
};

static const RealsafeComponent *const components[] = { COMPONENTS };

/* The table, and room for what later versions append. */
static const struct {
    RealsafePlugin table;
    uint64_t appended[4];
} plugin = {
    .table = {
        .size = SIZE,
        .magic = MAGIC,
        .major = REALSAFE_MAJOR,
        .minor = MINOR,
        .needs_minor = NEEDS_MINOR,
        .name = REALSAFE_LITERAL(NAME),
        .version = REALSAFE_LITERAL("0.1.0"),
        .licence = REALSAFE_LITERAL("MIT OR Apache-2.0"),
        .documentation = REALSAFE_LITERAL("A plugin for tests"),
        .components = components,
        .component_count = sizeof components / sizeof *components,
        .homepage = REALSAFE_LITERAL("https://example.org"),
    },
    .appended = { UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX },
};

const RealsafePlugin *ENTRY(uint32_t host_minor);

const RealsafePlugin *ENTRY(uint32_t host_minor)
{
    (void)host_minor;
    return TABLE;
}
