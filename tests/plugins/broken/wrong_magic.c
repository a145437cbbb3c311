/* The table begins with the wrong number. */
#define MAGIC 0x12345678
#include "plugin.h"
