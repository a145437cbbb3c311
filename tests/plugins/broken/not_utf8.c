/* A name that is not UTF-8. */
#define NAME "\xff\xfe"
#include "plugin.h"
