/* Two components of one name. */
#define COMPONENTS &component, &component
#include "plugin.h"
