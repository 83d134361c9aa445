/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libkv, the client of libvirt's protocol: all of its headers. examples/ has programs that use it, docs/libkv.md its methods. */
#pragma once
#include "kv-connection.h"
#include "kv-stream.h"
#include "kv-object.h"
#include "kv-api.h"
