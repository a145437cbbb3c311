/* A plugin that does not want to work with this host. */
#define TABLE NULL
#include "plugin.h"
