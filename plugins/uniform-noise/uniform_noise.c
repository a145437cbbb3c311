/* Repeated additive uniform noise, as one file of C.
 *
 *     cc -std=c11 -O2 -Wall -Wextra -shared -fPIC -I ../../crates/realsafe-abi uniform_noise.c -o uniform_noise.so
 */
#include "realsafe_plugin.h"

#include <stdlib.h>
#include <string.h>

/* What is kept per row. */
struct state {
    uint64_t done;
};

static void fail(const RealsafeHost *host, const char *message)
{
    RealsafeText text = { message, strlen(message) };
    host->set_error(host->context, text);
}

static RealsafeStatus plan(const RealsafeHost *host, const RealsafeValue *const *values, uint64_t value_count,
                           RealsafePlan *plan)
{
    if (value_count != 1 || values[0]->kind != REALSAFE_COUNT) {
        fail(host, "the parameters are not those of the table");
        return REALSAFE_FAILED;
    }
    plan->steps = (uint32_t)values[0]->count;
    memset(&plan->start, 0, sizeof plan->start);
    plan->step = (RealsafeCost){ .queries = 1, .forwards = 1, .backwards = 0 };
    return REALSAFE_OK;
}

/* An instance is a copy of the problem. */
static RealsafeStatus create(const RealsafeHost *host, const RealsafeProblem *problem,
                             const RealsafeValue *const *values, uint64_t value_count, void **instance)
{
    RealsafeProblem *copy = malloc(sizeof *copy);
    (void)values;
    (void)value_count;
    if (copy == NULL) {
        fail(host, "out of memory");
        return REALSAFE_FAILED;
    }
    *copy = *problem;
    *instance = copy;
    return REALSAFE_OK;
}

static void destroy(void *instance)
{
    free(instance);
}

static uint64_t state_bytes(void *instance)
{
    (void)instance;
    return sizeof(struct state);
}

/* The iterates are the clean images already, and the state is zero. */
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

static int reached(const RealsafeProblem *problem, const RealsafeBatch *batch, uint32_t row, uint32_t prediction)
{
    if (prediction == REALSAFE_NO_CLASS)
        return 0;
    if (problem->goal == REALSAFE_TARGETED)
        return prediction == batch->targets[row];
    return prediction != batch->labels[row];
}

/* Draws a point of the ball around each clean image that has none yet, and keeps it if the victim is fooled. */
static RealsafeStatus try_points(const RealsafeProblem *problem, const RealsafeHost *host, const RealsafeBatch *batch,
                                 float *iterates, struct state *state, uint32_t *rows, uint32_t *predictions,
                                 float *images)
{
    const RealsafeShape *shape = &problem->shape;
    const size_t pixels = (size_t)shape->channels * shape->height * shape->width;
    uint32_t count = 0;

    for (uint32_t row = 0; row < batch->rows; row++) {
        float *image = images + count * pixels;
        RealsafeStatus status;
        if (state[row].done)
            continue;
        status = host->random(host->context, row, REALSAFE_STREAM_STEP, REALSAFE_BALL, batch->eps[row], pixels, image);
        if (status != REALSAFE_OK)
            return status;
        for (size_t pixel = 0; pixel < pixels; pixel++)
            image[pixel] += batch->images[row * pixels + pixel];
        rows[count++] = row;
    }
    if (count == 0)
        return REALSAFE_OK;

    /* Clips to the box; the point is in the ball, and rounding is the host's business. */
    RealsafeStatus status = host->project(host->context, count, rows, images);
    if (status != REALSAFE_OK)
        return status;
    status = host->labels(host->context, count, rows, images, REALSAFE_ITERATE, predictions);
    if (status != REALSAFE_OK)
        return status;

    for (uint32_t i = 0; i < count; i++) {
        if (reached(problem, batch, rows[i], predictions[i])) {
            state[rows[i]].done = 1;
            memcpy(iterates + rows[i] * pixels, images + i * pixels, pixels * sizeof *images);
        }
    }
    return REALSAFE_OK;
}

static RealsafeStatus step(void *instance, const RealsafeHost *host, const RealsafeBatch *batch, float *iterates,
                           uint8_t *state)
{
    const RealsafeProblem *problem = instance;
    const RealsafeShape *shape = &problem->shape;
    const size_t pixels = (size_t)shape->channels * shape->height * shape->width;
    uint32_t *rows = malloc(batch->rows * sizeof *rows);
    uint32_t *predictions = malloc(batch->rows * sizeof *predictions);
    float *images = malloc(batch->rows * pixels * sizeof *images);
    RealsafeStatus status = REALSAFE_FAILED;

    if (rows != NULL && predictions != NULL && images != NULL)
        /* State begins at a multiple of 64 bytes. */
        status = try_points(problem, host, batch, iterates, (struct state *)(void *)state, rows, predictions, images);
    else
        fail(host, "out of memory");
    free(rows);
    free(predictions);
    free(images);
    return status;
}

static const RealsafeParameter tries = {
    .size = sizeof tries,
    .kind = REALSAFE_COUNT,
    .name = REALSAFE_LITERAL("tries"),
    .unit = REALSAFE_LITERAL("queries"),
    .documentation = REALSAFE_LITERAL("How many points are tried."),
    .fallback_kind = REALSAFE_DEFAULT,
    .fallback = REALSAFE_LITERAL("100"),
    .minimum = 1,
    .maximum = 1000000,
};

static const RealsafeParameter *const parameters[] = { &tries };

static const RealsafeAttack functions = {
    .size = sizeof functions,
    .access = REALSAFE_ACCESS_LABELS,
    .norms = REALSAFE_LINF | REALSAFE_L2,
    .goals = REALSAFE_UNTARGETED | REALSAFE_TARGETED | REALSAFE_TARGETED_MISCLASSIFY,
    .plan = plan,
    .create = create,
    .destroy = destroy,
    .state_bytes = state_bytes,
    .start = start,
    .step = step,
};

static const RealsafeComponent uniform_noise = {
    .size = sizeof uniform_noise,
    .kind = REALSAFE_KIND_ATTACK,
    .revision = 1,
    .id = REALSAFE_LITERAL("uniform-noise"),
    .documentation = REALSAFE_LITERAL(
        "Repeated additive uniform noise: random points of the ball, until one fools the victim.\n"
        "\n"
        "## What it does\n"
        "Each step draws a new point, independent of all others, clips it to the box, and asks for its label. The first\n"
        "adversarial one is kept. For linf the point is uniform in the cube; for l2 it has a random direction and a\n"
        "uniform length. An attack that does worse than this is broken.\n"
        "\n"
        "## Threat model\n"
        "Labels; linf and l2; untargeted, targeted and targeted-misclassify.\n"
        "\n"
        "## Cost\n"
        "One query per try.\n"),
    .example = REALSAFE_LITERAL("tries = 50"),
    .parameters = parameters,
    .parameter_count = 1,
    .interface = &functions,
};

static const RealsafeComponent *const components[] = { &uniform_noise };

static const RealsafePlugin plugin = {
    .size = sizeof plugin,
    .magic = REALSAFE_MAGIC,
    .major = REALSAFE_MAJOR,
    .minor = REALSAFE_MINOR,
    .needs_minor = 0,
    .name = REALSAFE_LITERAL("uniform-noise"),
    .version = REALSAFE_LITERAL("0.1.0"),
    .licence = REALSAFE_LITERAL("MIT OR Apache-2.0"),
    .documentation = REALSAFE_LITERAL("Random points of the ball, as one file of C"),
    .components = components,
    .component_count = 1,
    .homepage = REALSAFE_LITERAL(""),
};

const RealsafePlugin *realsafe_plugin_v1(uint32_t host_minor);

const RealsafePlugin *realsafe_plugin_v1(uint32_t host_minor)
{
    (void)host_minor;
    return &plugin;
}
