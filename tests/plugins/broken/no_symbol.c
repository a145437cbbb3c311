/* The entry of another major version. */
#define ENTRY realsafe_plugin_v2
#include "plugin.h"
