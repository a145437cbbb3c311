/* A plugin of a later version, with a longer table, that works with this host, too. */
#define MINOR 99
#define SIZE (sizeof(RealsafePlugin) + 32)
#include "plugin.h"
