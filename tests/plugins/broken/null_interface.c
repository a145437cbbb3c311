/* A component without functions. */
#define INTERFACE NULL
#include "plugin.h"
