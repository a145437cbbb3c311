/* A table that is too short for any version. */
#define SIZE 16
#include "plugin.h"
