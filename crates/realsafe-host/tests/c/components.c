/* One component of each kind; the attack misbehaves on request. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "realsafe_plugin.h"

enum behaviour {
    WELL, CRASH, ABORT, HANG, POLL, MEMORY, PRINT, PRINT_MUCH, LEAK, IGNORE, EXIT, NULL_POINTER, SECOND_TAPE, SURROGATE,
    SILENT, SPEAK, PROCESS, STALE_TAPE, CROWD, BAD_ROLE, MANY_NUMBERS, FORK,
};

typedef struct {
    RealsafeProblem problem;
    uint64_t behaviour;
    double gain;
} Attack;

static size_t values_of(const RealsafeShape *shape) {
    return (size_t)shape->channels * shape->height * shape->width;
}

static void fail(const RealsafeHost *host, const char *reason) {
    RealsafeText text = {reason, strlen(reason)};
    host->set_error(host->context, text);
}

static void warn(const RealsafeHost *host, const char *reason) {
    RealsafeText text = {reason, strlen(reason)};
    host->log(host->context, REALSAFE_LOG_WARNING, text);
}

static RealsafeStatus attack_plan(const RealsafeHost *host, const RealsafeValue *const *values, uint64_t count,
                                  RealsafePlan *plan) {
    if (count != 3 || values[2]->kind != 0 || host->gradient) {
        fail(host, "losses and questions are not there yet");
        return REALSAFE_BAD_VALUE;
    }
    plan->steps = 7;
    plan->step.queries = 2;
    plan->step.forwards = 2 + values[0]->count;
    plan->step.backwards = 1;
    return REALSAFE_OK;
}

static RealsafeStatus attack_create(const RealsafeHost *host, const RealsafeProblem *problem,
                                    const RealsafeValue *const *values, uint64_t count, void **instance) {
    if (values[1]->number > 1) {
        fail(host, "a gain above 1 makes no sense");
        return REALSAFE_BAD_VALUE;
    }
    if (values[0]->count == SPEAK) warn(host, "created");
    Attack *attack = malloc(sizeof *attack);
    *attack = (Attack){*problem, values[0]->count, values[1]->number};
    *instance = attack;
    return count == 3 ? REALSAFE_OK : REALSAFE_FAILED;
}

static uint64_t attack_state_bytes(void *instance) { return ((Attack *)instance)->behaviour == CROWD ? UINT64_MAX : 8; }

static uint32_t *all_rows(uint32_t count) {
    uint32_t *rows = malloc(count * sizeof *rows);
    for (uint32_t i = 0; i < count; i++) rows[i] = i;
    return rows;
}

static RealsafeStatus attack_start(void *instance, const RealsafeHost *host, const RealsafeBatch *batch,
                                   float *iterates, uint8_t *state) {
    Attack *attack = instance;
    size_t values = values_of(&attack->problem.shape);
    float *noise = malloc(values * sizeof *noise);
    RealsafeStatus status = REALSAFE_OK;
    for (uint32_t row = 0; row < batch->rows && !status; row++) {
        status = host->random(host->context, row, REALSAFE_STREAM_START, REALSAFE_BALL, batch->eps[row], values, noise);
        for (size_t i = 0; i < values && !status; i++) iterates[row * values + i] += noise[i];
        uint8_t seed[32];
        if (!status) status = host->stream_seed(host->context, row, 300, seed);
        state[row * 8] = seed[0];
    }
    uint32_t *rows = all_rows(batch->rows);
    if (!status) status = host->project(host->context, batch->rows, rows, iterates);
    free(rows);
    free(noise);
    if ((uintptr_t)iterates % 64 || (uintptr_t)batch->images % 64 || (uintptr_t)state % 64) return REALSAFE_FAILED;
    return status;
}

static RealsafeStatus misbehave(Attack *attack, const RealsafeHost *host, const RealsafeBatch *batch, float *iterates) {
    static volatile int *nowhere = NULL;
    uint32_t rows[1] = {0};
    float logits[16];
    uint64_t tape = 0;
    switch (attack->behaviour) {
    case CRASH: *nowhere = 1; return REALSAFE_OK;
    case ABORT: abort();
    case HANG: for (;;) sleep(1);
    case POLL: while (!host->cancelled(host->context)) {} return REALSAFE_CANCELLED;
    case MEMORY: for (;;) memset(malloc(1 << 24), 1, 1 << 24);
    case PRINT: printf("hello"); return REALSAFE_OK;
    case PRINT_MUCH: for (int i = 0; i < 300000; i++) printf("noise "); return REALSAFE_OK;
    case LEAK: return host->forward(host->context, 0, 1, rows, iterates, 0, logits, &tape);
    case IGNORE:
        rows[0] = batch->rows;
        host->scores(host->context, 0, 1, rows, iterates, 0, logits);
        return REALSAFE_OK;
    case EXIT: exit(3);
    case NULL_POINTER: host->labels(host->context, 1, rows, NULL, 0, rows); return REALSAFE_OK;
    case SECOND_TAPE:
        host->forward(host->context, 0, 1, rows, iterates, 0, logits, &tape);
        return host->forward(host->context, 0, 1, rows, iterates, 0, logits, &tape);
    case SURROGATE: return host->scores(host->context, 2, 1, rows, iterates, 0, logits);
    case SILENT: return 77;
    case SPEAK: warn(host, "careful"); fail(host, "spoke"); return REALSAFE_FAILED;
    case PROCESS: {
        char text[32];
        snprintf(text, sizeof text, "process %d", (int)getpid());
        warn(host, text);
        for (;;) sleep(1);
    }
    case STALE_TAPE:
        host->forward(host->context, 0, 1, rows, iterates, 0, logits, &tape);
        host->discard(host->context, tape);
        return host->pull(host->context, tape, logits, iterates);
    case BAD_ROLE: return host->scores(host->context, 0, 1, rows, iterates, 9, logits);
    case FORK:
        if (!fork()) for (;;) sleep(1);
        abort();
    case MANY_NUMBERS: return host->random(host->context, 0, 0, 0, 1, UINT64_MAX, iterates);
    }
    return REALSAFE_OK;
}

static RealsafeStatus attack_step(void *instance, const RealsafeHost *host, const RealsafeBatch *batch, float *iterates,
                                  uint8_t *state) {
    Attack *attack = instance;
    RealsafeStatus status = misbehave(attack, host, batch, iterates);
    if (status || attack->behaviour) return status;
    size_t values = values_of(&attack->problem.shape), classes = attack->problem.shape.classes;
    uint32_t *rows = all_rows(batch->rows), *predictions = all_rows(batch->rows);
    float *logits = malloc(batch->rows * classes * sizeof *logits);
    float *gradients = malloc(batch->rows * values * sizeof *gradients);
    float *pulled = malloc(batch->rows * values * sizeof *pulled);
    uint64_t tape = 0;
    RealsafeCost left = {0};
    (void)((status = host->gradient(host->context, 0, batch->rows, rows, iterates, REALSAFE_MARGIN, 0, logits, gradients)) ||
     (status = host->forward(host->context, 1, batch->rows, rows, iterates, REALSAFE_PROBE, logits, &tape)) ||
     (status = host->pull(host->context, tape, logits, pulled)) ||
     (status = host->scores(host->context, 0, batch->rows, rows, iterates, 0, logits)) ||
     (status = host->labels(host->context, batch->rows, rows, iterates, 0, predictions)) ||
     (status = host->remaining(host->context, 0, &left)));
    for (size_t i = 0; i < batch->rows * values && !status; i++) gradients[i] += pulled[i];
    if (!status) status = host->steepest(host->context, batch->rows, rows, gradients);
    for (size_t i = 0; i < batch->rows * values && !status; i++) iterates[i] += (float)attack->gain * gradients[i];
    if (!status) status = host->project(host->context, batch->rows, rows, iterates);
    for (uint32_t row = 0; row < batch->rows && !status; row++) {
        state[row * 8 + 1] += (uint8_t)(batch->step + left.queries);
        state[row * 8 + 2] = (uint8_t)(predictions[row] + batch->labels[row] + batch->samples[row]);
    }
    free(rows), free(predictions), free(logits), free(gradients), free(pulled);
    return status;
}

static RealsafeStatus plain_create(const RealsafeHost *host, const RealsafeValue *const *values, uint64_t count,
                                   void **instance) {
    (void)host, (void)values, (void)count;
    *instance = NULL;
    return REALSAFE_OK;
}

static void plain_destroy(void *instance) { free(instance); }

static RealsafeStatus invert(void *instance, const RealsafeHost *host, const RealsafeShape *shape, uint32_t rows,
                             const float *images, float *output) {
    if (host->labels || (uintptr_t)images % 64 || instance) return REALSAFE_FAILED;
    for (size_t i = 0; i < rows * values_of(shape); i++) output[i] = 1 - images[i];
    return REALSAFE_OK;
}

static RealsafeStatus invert_pull(void *instance, const RealsafeHost *host, const RealsafeShape *shape, uint32_t rows,
                                  const float *images, const float *cotangents, float *gradients) {
    (void)instance, (void)host;
    for (size_t i = 0; i < rows * values_of(shape); i++) {
        if (images[i] > 2) abort();
        gradients[i] = -cotangents[i];
    }
    return REALSAFE_OK;
}

typedef struct {
    double scale[3];
    float weights[12];
} Model;

static RealsafeStatus model_shape(const RealsafeHost *host, const RealsafeValue *const *values, uint64_t count,
                                  RealsafeShape *shape) {
    if (count != 5 || values[0]->kind != 0) {
        fail(host, "files are not there yet");
        return REALSAFE_FAILED;
    }
    shape->channels = 1;
    shape->height = shape->width = 2;
    shape->classes = (uint32_t)values[1]->number_count;
    return REALSAFE_OK;
}

static RealsafeStatus model_create(const RealsafeHost *host, const RealsafeValue *const *values, uint64_t count,
                                   void **instance) {
    Model *model = calloc(1, sizeof *model);
    *instance = model;
    if (count != 5 || values[0]->byte_count != sizeof model->weights || values[1]->number_count != 3) {
        free(model);
        fail(host, "the weights have another size");
        return REALSAFE_BAD_VALUE;
    }
    memcpy(model->weights, values[0]->bytes, sizeof model->weights);
    for (int i = 0; i < 3; i++) {
        model->scale[i] = values[1]->numbers[i];
        if (values[2]->count) model->scale[i] = -model->scale[i];
        if (values[3]->text.length == 4 && !memcmp(values[3]->text.data, "half", 4)) model->scale[i] /= 2;
        model->scale[i] += (double)values[4]->text.length;
    }
    return REALSAFE_OK;
}

static RealsafeStatus model_logits(void *instance, const RealsafeHost *host, uint32_t rows, const float *images,
                                   float *logits) {
    Model *model = instance;
    (void)host;
    for (uint32_t row = 0; row < rows; row++)
        for (int class = 0; class < 3; class++) {
            double sum = 0;
            for (int i = 0; i < 4; i++) sum += model->weights[class * 4 + i] * images[row * 4 + i];
            logits[row * 3 + class] = (float)(sum * model->scale[class]);
        }
    usleep(1000);
    return REALSAFE_OK;
}

static RealsafeStatus loss_evaluate(void *instance, const RealsafeHost *host, uint32_t rows, uint32_t classes,
                                    const float *logits, const uint32_t *labels, const uint32_t *targets,
                                    float *objectives, float *derivatives) {
    (void)instance, (void)host;
    for (uint32_t row = 0; row < rows; row++) {
        int targeted = targets[row] != REALSAFE_NO_CLASS;
        uint32_t class = targeted ? targets[row] : labels[row];
        objectives[row] = (targeted ? 1 : -1) * logits[row * classes + class];
        for (uint32_t i = 0; i < classes; i++) derivatives[row * classes + i] = i == class ? (targeted ? 1 : -1) : 0;
    }
    return REALSAFE_OK;
}

#define PARAMETER(symbol, kind, name, fallback_kind, fallback, minimum, maximum)                                      \
    static const RealsafeParameter symbol = {sizeof(RealsafeParameter), kind, REALSAFE_LITERAL(name),                  \
                                             REALSAFE_LITERAL(""), REALSAFE_LITERAL("What it is."), fallback_kind,     \
                                             REALSAFE_LITERAL(fallback), minimum, maximum, NULL, 0}

PARAMETER(BEHAVIOUR, REALSAFE_COUNT, "behaviour", REALSAFE_DEFAULT, "0", 0, 100);
PARAMETER(GAIN, REALSAFE_NUMBER, "gain", REALSAFE_REQUIRED, "", 0, INFINITY);
PARAMETER(LOSS, REALSAFE_LOSS, "loss", REALSAFE_UNSET, "", 0, 0);
static const RealsafeParameter *const ATTACK_PARAMETERS[] = {&BEHAVIOUR, &GAIN, &LOSS};

PARAMETER(WEIGHTS, REALSAFE_FILE, "weights", REALSAFE_REQUIRED, "", 0, 0);
PARAMETER(SCALE, REALSAFE_NUMBERS, "scale", REALSAFE_DEFAULT, "1, 1, 1", 0, 10);
PARAMETER(NEGATE, REALSAFE_FLAG, "negate", REALSAFE_DEFAULT, "false", 0, 0);
static const RealsafeText WORDS[] = {REALSAFE_LITERAL("full"), REALSAFE_LITERAL("half")};
static const RealsafeParameter MODE = {sizeof(RealsafeParameter), REALSAFE_CHOICE, REALSAFE_LITERAL("mode"),
    REALSAFE_LITERAL(""), REALSAFE_LITERAL("How much."), REALSAFE_DEFAULT, REALSAFE_LITERAL("full"), 0, 0, WORDS, 2};
PARAMETER(NOTE, REALSAFE_TEXT, "note", REALSAFE_UNSET, "", 0, 0);
static const RealsafeParameter *const MODEL_PARAMETERS[] = {&WEIGHTS, &SCALE, &NEGATE, &MODE, &NOTE};

static const RealsafeAttack ATTACK = {sizeof ATTACK, REALSAFE_ACCESS_GRADIENTS, 1, REALSAFE_LINF | 1u << 20,
    REALSAFE_UNTARGETED | REALSAFE_TARGETED, 0, attack_plan, attack_create, plain_destroy, attack_state_bytes,
    attack_start, attack_step};
static const RealsafeDefense DEFENSE = {sizeof DEFENSE, REALSAFE_GRADIENT_EXACT, plain_create, plain_destroy, invert,
    invert_pull};
static const RealsafeModel MODEL = {sizeof MODEL, model_shape, model_create, plain_destroy, model_logits, NULL};
static const RealsafeLoss LOSS_TABLE = {sizeof LOSS_TABLE, plain_create, plain_destroy, loss_evaluate};

static const RealsafeComponent COMPONENTS[] = {
    {sizeof(RealsafeComponent), REALSAFE_KIND_ATTACK, 2, REALSAFE_LITERAL("probing"),
        REALSAFE_LITERAL("Probes\nthe host.\n\nMore of it."), REALSAFE_LITERAL("gain = 0.1"), ATTACK_PARAMETERS, 3, &ATTACK},
    {sizeof(RealsafeComponent), REALSAFE_KIND_DEFENSE, 1, REALSAFE_LITERAL("invert"), REALSAFE_LITERAL("Inverts."),
        REALSAFE_LITERAL(""), NULL, 0, &DEFENSE},
    {sizeof(RealsafeComponent), 99, 1, REALSAFE_LITERAL("from-the-future"), REALSAFE_LITERAL(""), REALSAFE_LITERAL(""),
        NULL, 0, NULL},
    {sizeof(RealsafeComponent), REALSAFE_KIND_MODEL, 1, REALSAFE_LITERAL("linear"), REALSAFE_LITERAL("Linear."),
        REALSAFE_LITERAL(""), MODEL_PARAMETERS, 5, &MODEL},
    {sizeof(RealsafeComponent), REALSAFE_KIND_LOSS, 1, REALSAFE_LITERAL("logit"), REALSAFE_LITERAL("A logit."),
        REALSAFE_LITERAL(""), NULL, 0, &LOSS_TABLE},
};
static const RealsafeComponent *const LIST[] = {&COMPONENTS[0], &COMPONENTS[1], &COMPONENTS[2], &COMPONENTS[3],
    &COMPONENTS[4]};

static const RealsafePlugin PLUGIN = {sizeof PLUGIN, REALSAFE_MAGIC, REALSAFE_MAJOR, REALSAFE_MINOR, 0,
    REALSAFE_LITERAL("test-components"), REALSAFE_LITERAL("0.3"), REALSAFE_LITERAL("MIT"),
    REALSAFE_LITERAL("Components for tests."), LIST, 5, REALSAFE_LITERAL("")};

const RealsafePlugin *realsafe_plugin_v1(uint32_t host_minor) {
    (void)host_minor;
    return &PLUGIN;
}
