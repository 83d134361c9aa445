/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Descriptors of the software KVM. Each is a memfd, so that its number belongs to us until it is closed, and a table leads
 * from the number to the object. A call holds its handle, so closing during a call ends the object after the call.
 */
#pragma once
#include "soft.h"

enum handle_kind { HANDLE_SYSTEM, HANDLE_VM, HANDLE_VCPU };
struct handle {
	enum handle_kind kind;
	u32 refs; /* atomic */
	int fd;
	struct vm *vm;
	struct vcpu *vcpu;
	struct handle *next_free;
};

/* Enters fd (owned from now on) into the table; 0 or -ENOMEM, -EMFILE. Takes a reference of vm when given. */
int handle_add(int fd, enum handle_kind kind, struct vm *vm, struct vcpu *vcpu);
struct handle *handle_get(int fd); /* NULL: not ours */
void handle_put(struct handle *h);
int handle_close(int fd); /* 0 or -EBADF */
void handle_forget(unsigned first, unsigned last); /* those that somebody has closed already */
