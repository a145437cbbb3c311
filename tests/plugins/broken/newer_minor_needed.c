/* A plugin that needs a host of a later version. */
#define MINOR 99
#define NEEDS_MINOR 99
#include "plugin.h"
