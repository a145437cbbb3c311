/* A plugin of version 1.0, whose table ends before the homepage. */
#define MINOR 0
#define SIZE offsetof(RealsafePlugin, homepage)
#include "plugin.h"
