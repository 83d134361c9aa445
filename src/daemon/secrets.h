/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Secrets: passwords of volumes and of storage on networks, by UUID and by what they are for. Of a driver with files, each is
 * UUID.xml and UUID.base64, its value, in <config>/secrets (0600, the folder 0700); those that are ephemeral are in memory only.
 * With the state lock held. Called by hv.c.
 */
#pragma once
#include "hv.h"

void secrets_open(struct hv *hv, const char *dir); /* reads them; what is no secret is told in the log and left alone */
void secrets_close(struct hv *hv);		   /* values are wiped */
