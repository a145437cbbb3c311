/*
 * The C ABI of realsafe-spec plugins, version 1.
 *
 * A plugin is a shared library with one exported function, `RealsafeEntryFunction`, named `realsafe_plugin_v1`. It returns a
 * `RealsafePlugin`: a table that names the plugin and lists its components, each with its documentation, its
 * parameters and a table of functions. `realsafe_plugin.h` says the same in C and is generated from this file.
 *
 * # Rules
 * - **Versions.** The major version is in the name of the entry. Minor versions only append fields to structs; every
 *   struct begins with its own size, and a field is there if the size covers it.
 * - **Memory.** Nobody frees the other side's memory. Outputs are allocated by the caller. What a table points to
 *   lives as long as the process: libraries are never unloaded. Arguments are borrowed for the call.
 * - **Numbers.** Images are `float`, row by row, each channel by channel, in `[0, 1]`, without gaps. The first element
 *   of an array is aligned to 64 bytes.
 * - **Threads.** An instance is used by one thread at a time, not always the same one. A host table and its context are
 *   valid during the call that they are passed to, on the calling thread.
 * - **Failures.** Functions return a `RealsafeStatus`. A status other than `REALSAFE_OK` that a host's function
 *   returns has to be passed on: the host holds the call to be failed whatever it returns. Unwinding out of a function
 *   ends the process.
 *
 * Generated from crates/realsafe-abi/src/lib.rs; not to be edited by hand.
 */

#ifndef REALSAFE_PLUGIN_H
#define REALSAFE_PLUGIN_H

#include <stdint.h>

/* The initialiser of a RealsafeText from a string literal. */
#define REALSAFE_LITERAL(literal) { "" literal, sizeof(literal) - 1 }

/**
 * `RSPL` in the first four bytes of `RealsafePlugin`, after its size.
 */
#define REALSAFE_MAGIC 1280332626

/**
 * The version of the ABI that cannot be mixed with others.
 */
#define REALSAFE_MAJOR 1

/**
 * The number of additions since. Version 1.1 added the plugin's homepage.
 */
#define REALSAFE_MINOR 1

/**
 * A component that looks for adversarial examples; its interface is `RealsafeAttack`.
 */
#define REALSAFE_KIND_ATTACK 1

/**
 * A component that stands in front of a model; its interface is `RealsafeDefense`.
 */
#define REALSAFE_KIND_DEFENSE 2

/**
 * A component that maps images to logits; its interface is `RealsafeModel`.
 */
#define REALSAFE_KIND_MODEL 3

/**
 * A component that attacks raise; its interface is `RealsafeLoss`.
 */
#define REALSAFE_KIND_LOSS 4

/**
 * A parameter that is true or false.
 */
#define REALSAFE_FLAG 1

/**
 * A parameter that is a whole number.
 */
#define REALSAFE_COUNT 2

/**
 * A parameter that is a number, written as 0.1 or "8/255".
 */
#define REALSAFE_NUMBER 3

/**
 * A parameter that is a list of numbers.
 */
#define REALSAFE_NUMBERS 4

/**
 * A parameter that is one of several words.
 */
#define REALSAFE_CHOICE 5

/**
 * A parameter that is any text.
 */
#define REALSAFE_TEXT 6

/**
 * A parameter that is a file, whose content the host reads.
 */
#define REALSAFE_FILE 7

/**
 * A parameter that is a loss of the catalogue. Attacks only.
 */
#define REALSAFE_LOSS 8

/**
 * A parameter that the spec must set.
 */
#define REALSAFE_REQUIRED 0

/**
 * A parameter that stays unset when the spec does not set it.
 */
#define REALSAFE_UNSET 1

/**
 * A parameter that has a default.
 */
#define REALSAFE_DEFAULT 2

/**
 * The attack never asks the victim: it sees surrogates only, and the victim is judged once, at the end.
 */
#define REALSAFE_ACCESS_NONE 0

/**
 * The attack sees predicted labels of the victim.
 */
#define REALSAFE_ACCESS_LABELS 1

/**
 * The attack sees logits of the victim.
 */
#define REALSAFE_ACCESS_SCORES 2

/**
 * The attack sees logits and gradients of the victim.
 */
#define REALSAFE_ACCESS_GRADIENTS 3

/**
 * The largest change of a pixel. Norms are bits.
 */
#define REALSAFE_LINF 1

/**
 * The Euclidean length of the change.
 */
#define REALSAFE_L2 2

/**
 * The sum of all changes.
 */
#define REALSAFE_L1 4

/**
 * The number of changed values.
 */
#define REALSAFE_L0 8

/**
 * Any label but the true one. Goals are bits.
 */
#define REALSAFE_UNTARGETED 1

/**
 * The target label.
 */
#define REALSAFE_TARGETED 2

/**
 * Optimises towards the target; any label but the true one counts.
 */
#define REALSAFE_TARGETED_MISCLASSIFY 4

/**
 * The derivative of what a defense's forward pass computes, from `RealsafeDefense::pull`.
 */
#define REALSAFE_GRADIENT_EXACT 1

/**
 * The identity: backward pass differentiable approximation (BPDA).
 */
#define REALSAFE_GRADIENT_IDENTITY 2

/**
 * Zeros.
 */
#define REALSAFE_GRADIENT_BLOCKED 3

/**
 * The defended model that is attacked. Surrogate number i is the network i + 1.
 */
#define REALSAFE_VICTIM 0

/**
 * An image that is a candidate for the result.
 */
#define REALSAFE_ITERATE 0

/**
 * An image that only measures; it counts as success under `success = "any-query"` alone.
 */
#define REALSAFE_PROBE 1

/**
 * Softmax cross-entropy. Other losses come from parameters of the kind `REALSAFE_LOSS`.
 */
#define REALSAFE_CROSS_ENTROPY 0

/**
 * The largest other logit minus the logit of the class.
 */
#define REALSAFE_MARGIN 1

/**
 * Uniform numbers in `[-1, 1)`.
 */
#define REALSAFE_UNIFORM 0

/**
 * Standard normal numbers.
 */
#define REALSAFE_GAUSSIAN 1

/**
 * A point of the ball around the origin, in the norm of the problem: uniform in the cube for linf, a Gaussian direction
 * times a uniform radius for l2.
 */
#define REALSAFE_BALL 2

/**
 * The stream that draws where attacks start.
 */
#define REALSAFE_STREAM_START 0

/**
 * The stream that draws what attacks need at a step. Numbers from 256 on are the plugin's own.
 */
#define REALSAFE_STREAM_STEP 1

/**
 * No class: the target of a sample without one, or the prediction of a model that gives NaN.
 */
#define REALSAFE_NO_CLASS UINT32_MAX

/**
 * No limit.
 */
#define REALSAFE_UNLIMITED UINT64_MAX

/**
 * A message that helps to find mistakes.
 */
#define REALSAFE_LOG_DEBUG 0

/**
 * A message that the user should see; it is recorded with the cell.
 */
#define REALSAFE_LOG_WARNING 1

/**
 * What a function returns. Unknown numbers mean `REALSAFE_FAILED`.
 */
typedef int32_t RealsafeStatus;

/**
 * UTF-8 without a terminating zero.
 */
typedef struct RealsafeText {
  /**
   * The first byte; may be null when the length is 0.
   */
  const char *data;
  /**
   * The number of bytes.
   */
  uint64_t length;
} RealsafeText;

/**
 * A parameter of a component.
 */
typedef struct RealsafeParameter {
  /**
   * `sizeof` this struct.
   */
  uint32_t size;
  /**
   * `REALSAFE_FLAG` to `REALSAFE_LOSS`.
   */
  uint32_t kind;
  /**
   * Its key in specs, in kebab case.
   */
  struct RealsafeText name;
  /**
   * Its unit in words; empty where there is none.
   */
  struct RealsafeText unit;
  /**
   * What it does, in a sentence.
   */
  struct RealsafeText documentation;
  /**
   * `REALSAFE_REQUIRED`, `REALSAFE_UNSET` or `REALSAFE_DEFAULT`.
   */
  uint32_t fallback_kind;
  /**
   * The default as a spec would write it, without quotes: `40`, `8/255`, `true`, `0.5, 0.5`.
   */
  struct RealsafeText fallback;
  /**
   * The least value of a count or number, or of each number of a list.
   */
  double minimum;
  /**
   * The most. Counts are whole numbers up to 2^53.
   */
  double maximum;
  /**
   * The words of a choice.
   */
  const struct RealsafeText *choices;
  /**
   * How many words there are.
   */
  uint64_t choice_count;
} RealsafeParameter;

/**
 * A component as everything but its own code sees it.
 */
typedef struct RealsafeComponent {
  /**
   * `sizeof` this struct.
   */
  uint32_t size;
  /**
   * One of `REALSAFE_KIND_...`. Components of unknown kinds are passed over.
   */
  uint32_t kind;
  /**
   * Raised by hand whenever the component's numbers may change.
   */
  uint32_t revision;
  /**
   * The name that `use` takes, in kebab case.
   */
  struct RealsafeText id;
  /**
   * The manual, in Markdown; its first paragraph is what lists show.
   */
  struct RealsafeText documentation;
  /**
   * Keys of an example table, as TOML without `use`.
   */
  struct RealsafeText example;
  /**
   * Everything that can be set.
   */
  const struct RealsafeParameter *const *parameters;
  /**
   * How many parameters there are.
   */
  uint64_t parameter_count;
  /**
   * A `RealsafeAttack`, `RealsafeDefense`, `RealsafeModel` or `RealsafeLoss`.
   */
  const void *interface;
} RealsafeComponent;

/**
 * A plugin.
 */
typedef struct RealsafePlugin {
  /**
   * `sizeof` this struct.
   */
  uint32_t size;
  /**
   * `REALSAFE_MAGIC`.
   */
  uint32_t magic;
  /**
   * `REALSAFE_MAJOR`.
   */
  uint32_t major;
  /**
   * `REALSAFE_MINOR` of the header that the plugin was built with.
   */
  uint32_t minor;
  /**
   * The least minor version that the plugin needs of its host.
   */
  uint32_t needs_minor;
  /**
   * The name, in kebab case.
   */
  struct RealsafeText name;
  /**
   * The version, in words.
   */
  struct RealsafeText version;
  /**
   * The licence, as an SPDX expression.
   */
  struct RealsafeText licence;
  /**
   * What it is, in a sentence.
   */
  struct RealsafeText documentation;
  /**
   * The components.
   */
  const struct RealsafeComponent *const *components;
  /**
   * How many there are.
   */
  uint64_t component_count;
  /**
   * Where to read more; may be empty. Since version 1.1.
   */
  struct RealsafeText homepage;
} RealsafePlugin;

/**
 * An amount of work on one sample.
 */
typedef struct RealsafeCost {
  /**
   * Images sent to the victim.
   */
  uint64_t queries;
  /**
   * Forward passes of the victim. `scores` and `labels` cost a query and a forward pass each.
   */
  uint64_t forwards;
  /**
   * Backward passes of the victim. `gradient` costs a query, a forward and a backward pass.
   */
  uint64_t backwards;
} RealsafeCost;

/**
 * What a plugin may ask its host. Functions that the component's kind and access level do not cover are null.
 *
 * Where a function takes `count`, `rows` and `images`, image i belongs to row `rows[i]` of the batch; a row may occur
 * several times or not at all. Every image is charged to the sample of its row.
 */
typedef struct RealsafeHost {
  /**
   * `sizeof` this struct.
   */
  uint32_t size;
  /**
   * The minor version of the host.
   */
  uint32_t minor;
  /**
   * The first argument of all functions.
   */
  void *context;
  /**
   * Predicts the class of each image, `REALSAFE_NO_CLASS` where the victim gives NaN.
   */
  RealsafeStatus (*labels)(void *context,
                           uint32_t count,
                           const uint32_t *rows,
                           const float *images,
                           uint32_t role,
                           uint32_t *predictions);
  /**
   * Computes the logits of each image. The role matters for the victim only.
   */
  RealsafeStatus (*scores)(void *context,
                           uint32_t network,
                           uint32_t count,
                           const uint32_t *rows,
                           const float *images,
                           uint32_t role,
                           float *logits);
  /**
   * Computes the logits of each image, and the gradient along which the attacker's objective rises: the loss for the
   * label, or minus the loss for the target.
   */
  RealsafeStatus (*gradient)(void *context,
                             uint32_t network,
                             uint32_t count,
                             const uint32_t *rows,
                             const float *images,
                             uint64_t loss,
                             uint32_t role,
                             float *logits,
                             float *gradients);
  /**
   * Computes the logits of each image and keeps what `pull` needs: a tape, of which there is at most one at a time.
   */
  RealsafeStatus (*forward)(void *context,
                            uint32_t network,
                            uint32_t count,
                            const uint32_t *rows,
                            const float *images,
                            uint32_t role,
                            float *logits,
                            uint64_t *tape);
  /**
   * Multiplies the derivative of a tape's logits with cotangents (`count` times `classes`). The tape is gone
   * afterwards, even after a failure.
   */
  RealsafeStatus (*pull)(void *context, uint64_t tape, const float *cotangents, float *gradients);
  /**
   * Gives up a tape.
   */
  RealsafeStatus (*discard)(void *context, uint64_t tape);
  /**
   * Draws numbers from a stream of a row's sample, at this restart and step, from the beginning of the stream. The
   * radius is that of `REALSAFE_BALL`.
   */
  RealsafeStatus (*random)(void *context,
                           uint32_t row,
                           uint32_t stream,
                           uint32_t distribution,
                           float radius,
                           uint64_t count,
                           float *values);
  /**
   * The 32 bytes that a random generator of the plugin's own is seeded with, for a row's sample at this restart and
   * step.
   */
  RealsafeStatus (*stream_seed)(void *context, uint32_t row, uint32_t stream, uint8_t *seed);
  /**
   * Replaces gradients by the direction of steepest ascent in the norm: the sign for linf, the unit vector for l2.
   */
  RealsafeStatus (*steepest)(void *context, uint32_t count, const uint32_t *rows, float *gradients);
  /**
   * Projects images onto the ball of their rows, then onto the box `[0, 1]`.
   */
  RealsafeStatus (*project)(void *context, uint32_t count, const uint32_t *rows, float *images);
  /**
   * What a row's sample may still spend during this call, under its budget and the declared cost;
   * `REALSAFE_UNLIMITED` where neither is a limit.
   */
  RealsafeStatus (*remaining)(void *context, uint32_t row, struct RealsafeCost *remaining);
  /**
   * Whether the user stopped the run: 0 or 1.
   */
  uint32_t (*cancelled)(void *context);
  /**
   * Says something, `REALSAFE_LOG_DEBUG` or `REALSAFE_LOG_WARNING`.
   */
  void (*log)(void *context, uint32_t level, struct RealsafeText message);
  /**
   * Says why the function that is running is about to fail.
   */
  void (*set_error)(void *context, struct RealsafeText message);
} RealsafeHost;

/**
 * The value of a parameter. Values come in the order of the component's parameters.
 */
typedef struct RealsafeValue {
  /**
   * `sizeof` this struct.
   */
  uint32_t size;
  /**
   * The kind of the parameter, or 0 where it is unset.
   */
  uint32_t kind;
  /**
   * Of a count; of a flag, 0 or 1; of a loss, what `RealsafeHost::gradient` takes.
   */
  uint64_t count;
  /**
   * Of a number.
   */
  double number;
  /**
   * Of a list of numbers.
   */
  const double *numbers;
  /**
   * How many numbers there are.
   */
  uint64_t number_count;
  /**
   * Of a choice or text; of a file, its name as in the spec.
   */
  struct RealsafeText text;
  /**
   * The content of a file.
   */
  const uint8_t *bytes;
  /**
   * The number of its bytes.
   */
  uint64_t byte_count;
} RealsafeValue;

/**
 * What an attack is going to do, as far as its parameters tell.
 */
typedef struct RealsafePlan {
  /**
   * `sizeof` this struct.
   */
  uint32_t size;
  /**
   * How many steps it makes at most.
   */
  uint32_t steps;
  /**
   * The most that `start` asks of the victim per row.
   */
  struct RealsafeCost start;
  /**
   * The most that one `step` asks of the victim per row.
   */
  struct RealsafeCost step;
} RealsafePlan;

/**
 * Channels, height and width of images, and the number of classes.
 */
typedef struct RealsafeShape {
  /**
   * `sizeof` this struct.
   */
  uint32_t size;
  /**
   * Channels.
   */
  uint32_t channels;
  /**
   * Height in pixels.
   */
  uint32_t height;
  /**
   * Width in pixels.
   */
  uint32_t width;
  /**
   * The number of classes.
   */
  uint32_t classes;
} RealsafeShape;

/**
 * What is fixed when an attack is created.
 */
typedef struct RealsafeProblem {
  /**
   * `sizeof` this struct.
   */
  uint32_t size;
  /**
   * One of the norms.
   */
  uint32_t norm;
  /**
   * One of the goals.
   */
  uint32_t goal;
  /**
   * How many surrogates there are.
   */
  uint32_t surrogates;
  /**
   * The shape of all images, and the number of classes.
   */
  struct RealsafeShape shape;
} RealsafeProblem;

/**
 * The samples that an attack works on. Rows come and go between steps: what depends on a row's place is wrong.
 */
typedef struct RealsafeBatch {
  /**
   * `sizeof` this struct.
   */
  uint32_t size;
  /**
   * How many rows there are.
   */
  uint32_t rows;
  /**
   * The clean images.
   */
  const float *images;
  /**
   * The true class of each row.
   */
  const uint32_t *labels;
  /**
   * The target of each row, or `REALSAFE_NO_CLASS`.
   */
  const uint32_t *targets;
  /**
   * The radius of each row; infinite where the attack minimises the distance.
   */
  const float *eps;
  /**
   * The index of each row in the dataset.
   */
  const uint32_t *samples;
  /**
   * The restart, from 0.
   */
  uint32_t restart;
  /**
   * The step, from 0.
   */
  uint32_t step;
} RealsafeBatch;

/**
 * `start` and `step` of an attack: `iterates` are the images that it would return, `state` is its own.
 */
typedef RealsafeStatus (*RealsafeAttackFunction)(void *instance,
                                                 const struct RealsafeHost *host,
                                                 const struct RealsafeBatch *batch,
                                                 float *iterates,
                                                 uint8_t *state);

/**
 * The functions of an attack.
 *
 * It is a batch of independent per-sample machines. The host owns the iterates and the state, moves rows as samples
 * are done, and makes the steps: what is adversarial ends by itself.
 */
typedef struct RealsafeAttack {
  /**
   * `sizeof` this struct.
   */
  uint32_t size;
  /**
   * One of `REALSAFE_ACCESS_...`.
   */
  uint32_t access;
  /**
   * 1 if it uses surrogates, else 0.
   */
  uint32_t surrogates;
  /**
   * The norms in which it works.
   */
  uint32_t norms;
  /**
   * The goals that it can pursue.
   */
  uint32_t goals;
  /**
   * 1 if it looks for the smallest distance and ignores eps, else 0.
   */
  uint32_t minimises_distance;
  /**
   * Says what it is going to do with these parameters. Losses and files are not there yet.
   */
  RealsafeStatus (*plan)(const struct RealsafeHost *host,
                         const struct RealsafeValue *const *values,
                         uint64_t value_count,
                         struct RealsafePlan *plan);
  /**
   * Creates an instance.
   */
  RealsafeStatus (*create)(const struct RealsafeHost *host,
                           const struct RealsafeProblem *problem,
                           const struct RealsafeValue *const *values,
                           uint64_t value_count,
                           void **instance);
  /**
   * Ends an instance.
   */
  void (*destroy)(void *instance);
  /**
   * The number of bytes that it keeps per row, beside the iterate. Rows follow each other without gaps.
   */
  uint64_t (*state_bytes)(void *instance);
  /**
   * Sets up all rows. The iterates are the clean images, the state is zero.
   */
  RealsafeAttackFunction start;
  /**
   * Makes one step on every row.
   */
  RealsafeAttackFunction step;
} RealsafeAttack;

/**
 * Creates an instance of a defense, model or loss.
 */
typedef RealsafeStatus (*RealsafeCreateFunction)(const struct RealsafeHost *host,
                                                 const struct RealsafeValue *const *values,
                                                 uint64_t value_count,
                                                 void **instance);

/**
 * The functions of a defense: deterministic, images to images of the same shape in `[0, 1]`, row by row.
 */
typedef struct RealsafeDefense {
  /**
   * `sizeof` this struct.
   */
  uint32_t size;
  /**
   * The gradient that attackers are given by default, one of `REALSAFE_GRADIENT_...`.
   */
  uint32_t gradient;
  /**
   * Creates an instance.
   */
  RealsafeCreateFunction create;
  /**
   * Ends an instance.
   */
  void (*destroy)(void *instance);
  /**
   * What the model gets to see.
   */
  RealsafeStatus (*forward)(void *instance,
                            const struct RealsafeHost *host,
                            const struct RealsafeShape *shape,
                            uint32_t rows,
                            const float *images,
                            float *output);
  /**
   * The vector-Jacobian product of `forward` at the images; null where there is none.
   */
  RealsafeStatus (*pull)(void *instance,
                         const struct RealsafeHost *host,
                         const struct RealsafeShape *shape,
                         uint32_t rows,
                         const float *images,
                         const float *cotangents,
                         float *gradients);
} RealsafeDefense;

/**
 * The functions of a model: deterministic, row by row.
 */
typedef struct RealsafeModel {
  /**
   * `sizeof` this struct.
   */
  uint32_t size;
  /**
   * The shape that it takes and the number of logits that it gives. Files are not there yet.
   */
  RealsafeStatus (*shape)(const struct RealsafeHost *host,
                          const struct RealsafeValue *const *values,
                          uint64_t value_count,
                          struct RealsafeShape *shape);
  /**
   * Creates an instance.
   */
  RealsafeCreateFunction create;
  /**
   * Ends an instance.
   */
  void (*destroy)(void *instance);
  /**
   * The logits of images.
   */
  RealsafeStatus (*logits)(void *instance,
                           const struct RealsafeHost *host,
                           uint32_t rows,
                           const float *images,
                           float *logits);
  /**
   * The vector-Jacobian product of `logits` at the images; null where there is none.
   */
  RealsafeStatus (*pull)(void *instance,
                         const struct RealsafeHost *host,
                         uint32_t rows,
                         const float *images,
                         const float *cotangents,
                         float *gradients);
} RealsafeModel;

/**
 * The functions of a loss: what an attacker raises, as a function of one row's logits.
 */
typedef struct RealsafeLoss {
  /**
   * `sizeof` this struct.
   */
  uint32_t size;
  /**
   * Creates an instance.
   */
  RealsafeCreateFunction create;
  /**
   * Ends an instance.
   */
  void (*destroy)(void *instance);
  /**
   * The objective of each row and its derivative with respect to the row's logits: to be raised, away from the label
   * or, where a row has one, towards the target.
   */
  RealsafeStatus (*evaluate)(void *instance,
                             const struct RealsafeHost *host,
                             uint32_t rows,
                             uint32_t classes,
                             const float *logits,
                             const uint32_t *labels,
                             const uint32_t *targets,
                             float *objectives,
                             float *derivatives);
} RealsafeLoss;

/**
 * The exported function: the plugin's table, or null when it cannot work with a host of that minor version.
 */
typedef const struct RealsafePlugin *(*RealsafeEntryFunction)(uint32_t host_minor);

/**
 * Done.
 */
#define REALSAFE_OK 0

/**
 * The user stopped the run.
 */
#define REALSAFE_CANCELLED 1

/**
 * More was asked for than the budget or the declared cost allows.
 */
#define REALSAFE_BUDGET 2

/**
 * A parameter, or a file that it names, does not fit.
 */
#define REALSAFE_BAD_VALUE 3

/**
 * The component did not declare that it asks for this.
 */
#define REALSAFE_UNSUPPORTED 4

/**
 * Any other failure.
 */
#define REALSAFE_FAILED 5

/**
 * The plugin panicked, and caught it.
 */
#define REALSAFE_PANICKED 6

#endif  /* REALSAFE_PLUGIN_H */
