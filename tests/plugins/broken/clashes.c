/* An attack that has the name of a built-in one. */
#define NAME "clashing"
#define ID "pgd"
#include "plugin.h"
