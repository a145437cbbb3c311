/* Nothing is wrong: the control of the others. */
#include "plugin.h"
