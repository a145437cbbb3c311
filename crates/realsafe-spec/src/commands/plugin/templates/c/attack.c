/* Repeated steps of steepest ascent of the cross-entropy, as a plugin of realsafe-spec. */
#include "realsafe_plugin.h"

#include <stdlib.h>
#include <string.h>

/* The parameters, in the order of the table below. */
enum { STEPS, STEP_SIZE, PARAMETERS };

struct instance {
    RealsafeProblem problem;
    float step_size; /* as a share of eps */
};

static RealsafeStatus fail(const RealsafeHost *host, const char *message)
{
    RealsafeText text = { message, strlen(message) };
    host->set_error(host->context, text);
    return REALSAFE_FAILED;
}

/* What a step costs at most; more is refused. */
static RealsafeStatus plan(const RealsafeHost *host, const RealsafeValue *const *values, uint64_t value_count,
                           RealsafePlan *plan)
{
    if (value_count != PARAMETERS)
        return fail(host, "the parameters are not those of the table");
    plan->steps = (uint32_t)values[STEPS]->count;
    memset(&plan->start, 0, sizeof plan->start);
    plan->step = (RealsafeCost){ .queries = 1, .forwards = 1, .backwards = 1 };
    return REALSAFE_OK;
}

static RealsafeStatus create(const RealsafeHost *host, const RealsafeProblem *problem,
                             const RealsafeValue *const *values, uint64_t value_count, void **instance)
{
    struct instance *created = malloc(sizeof *created);
    if (created == NULL)
        return fail(host, "out of memory");
    if (value_count != PARAMETERS) {
        free(created);
        return fail(host, "the parameters are not those of the table");
    }
    created->problem = *problem;
    created->step_size = (float)values[STEP_SIZE]->number;
    *instance = created;
    return REALSAFE_OK;
}

static void destroy(void *instance)
{
    free(instance);
}

/* Nothing is kept between steps but the iterates, which are the host's. */
static uint64_t state_bytes(void *instance)
{
    (void)instance;
    return 0;
}

/* The iterates are the clean images already. */
static RealsafeStatus start(void *instance, const RealsafeHost *host, const RealsafeBatch *batch, float *iterates,
                            uint8_t *state)
{
    (void)instance;
    (void)host;
    (void)batch;
    (void)iterates;
    (void)state;
    return REALSAFE_OK;
}

/* Follows the gradients of all rows. A status of the host that is not REALSAFE_OK is passed on. */
static RealsafeStatus follow(const struct instance *instance, const RealsafeHost *host, const RealsafeBatch *batch,
                             float *iterates, uint32_t *rows, float *logits, float *directions)
{
    const RealsafeShape *shape = &instance->problem.shape;
    const size_t pixels = (size_t)shape->channels * shape->height * shape->width;

    for (uint32_t row = 0; row < batch->rows; row++)
        rows[row] = row;
    RealsafeStatus status = host->gradient(host->context, REALSAFE_VICTIM, batch->rows, rows, iterates,
                                           REALSAFE_CROSS_ENTROPY, REALSAFE_ITERATE, logits, directions);
    if (status != REALSAFE_OK)
        return status;
    /* The sign of the gradient for linf, the unit vector along it for l2. */
    status = host->steepest(host->context, batch->rows, rows, directions);
    if (status != REALSAFE_OK)
        return status;
    for (uint32_t row = 0; row < batch->rows; row++) {
        const float length = instance->step_size * batch->eps[row];
        for (size_t pixel = row * pixels; pixel < (row + 1) * pixels; pixel++)
            iterates[pixel] += length * directions[pixel];
    }
    return host->project(host->context, batch->rows, rows, iterates);
}

/* Samples that are adversarial end by themselves: the next step has fewer rows. */
static RealsafeStatus step(void *instance, const RealsafeHost *host, const RealsafeBatch *batch, float *iterates,
                           uint8_t *state)
{
    const struct instance *created = instance;
    const RealsafeShape *shape = &created->problem.shape;
    const size_t pixels = (size_t)shape->channels * shape->height * shape->width;
    uint32_t *rows = malloc(sizeof *rows * batch->rows);
    float *logits = malloc(sizeof *logits * batch->rows * shape->classes);
    float *directions = malloc(sizeof *directions * batch->rows * pixels);
    RealsafeStatus status;

    (void)state;
    if (rows != NULL && logits != NULL && directions != NULL)
        status = follow(created, host, batch, iterates, rows, logits, directions);
    else
        status = fail(host, "out of memory");
    free(rows);
    free(logits);
    free(directions);
    return status;
}

static const RealsafeParameter steps = {
    .size = sizeof steps,
    .kind = REALSAFE_COUNT,
    .name = REALSAFE_LITERAL("steps"),
    .documentation = REALSAFE_LITERAL("How many steps are made."),
    .fallback_kind = REALSAFE_DEFAULT,
    .fallback = REALSAFE_LITERAL("40"),
    .minimum = 1,
    .maximum = 1000000,
};

static const RealsafeParameter step_size = {
    .size = sizeof step_size,
    .kind = REALSAFE_NUMBER,
    .name = REALSAFE_LITERAL("step-size"),
    .unit = REALSAFE_LITERAL("eps"),
    .documentation = REALSAFE_LITERAL("The length of a step."),
    .fallback_kind = REALSAFE_DEFAULT,
    .fallback = REALSAFE_LITERAL("0.1"),
    .minimum = 0,
    .maximum = 10,
};

static const RealsafeParameter *const parameters[PARAMETERS] = { [STEPS] = &steps, [STEP_SIZE] = &step_size };

static const RealsafeAttack functions = {
    .size = sizeof functions,
    /* What the attack may ask of its victim: functions beyond it are null. */
    .access = REALSAFE_ACCESS_GRADIENTS,
    .norms = REALSAFE_LINF | REALSAFE_L2,
    .goals = REALSAFE_UNTARGETED | REALSAFE_TARGETED | REALSAFE_TARGETED_MISCLASSIFY,
    .plan = plan,
    .create = create,
    .destroy = destroy,
    .state_bytes = state_bytes,
    .start = start,
    .step = step,
};

static const RealsafeComponent attack = {
    .size = sizeof attack,
    .kind = REALSAFE_KIND_ATTACK,
    /* Raise it whenever the numbers may change: stored results of other revisions are not used. */
    .revision = 1,
    .id = REALSAFE_LITERAL("{{name}}"),
    .documentation = REALSAFE_LITERAL(
        "Repeated steps of steepest ascent of the cross-entropy, each projected onto the ball.\n"
        "\n"
        "## Threat model\n"
        "White-box gradients; linf and l2; untargeted, targeted and targeted-misclassify.\n"
        "\n"
        "## Cost\n"
        "One forward and one backward pass per step and sample.\n"),
    .example = REALSAFE_LITERAL("steps = 20"),
    .parameters = parameters,
    .parameter_count = PARAMETERS,
    .interface = &functions,
};

static const RealsafeComponent *const components[] = { &attack };

static const RealsafePlugin plugin = {
    .size = sizeof plugin,
    .magic = REALSAFE_MAGIC,
    .major = REALSAFE_MAJOR,
    .minor = REALSAFE_MINOR,
    .needs_minor = 0,
    .name = REALSAFE_LITERAL("{{name}}"),
    .version = REALSAFE_LITERAL("0.1.0"),
    .licence = REALSAFE_LITERAL("MIT OR Apache-2.0"),
    .documentation = REALSAFE_LITERAL("{{description}}"),
    .components = components,
    .component_count = 1,
};

const RealsafePlugin *realsafe_plugin_v1(uint32_t host_minor);

const RealsafePlugin *realsafe_plugin_v1(uint32_t host_minor)
{
    (void)host_minor;
    return &plugin;
}
