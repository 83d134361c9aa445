/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The drivers that there are (hv.h); the first that knows a URI's scheme has it. */
#include "hv.h"
#include "kv-driver.h"

extern const struct hv_driver test_driver;

const struct hv_driver *const hv_drivers[] = { &kv_driver, &test_driver, NULL };
