/* alloc_faults.h - makes the n-th allocation of our own code fail.
 *
 * The linker hands the allocations of all objects that it links to alloc_faults.c
 * (--wrap=malloc, ...); those inside shared libraries are not touched, save Jansson's,
 * which takes its memory from us. What an arena hands out counts as an allocation. A
 * failed allocation sets errno, as malloc() does.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FAULTS_ALLOC_FAULTS_H
#define TESTS_FAULTS_ALLOC_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

/* From now on the nth allocation fails (0 = none), or all from the nth on. Starts counting
 * anew. */
void alloc_faults_arm(uint32_t nth, bool lasts);
/* Nothing fails any more; returns how many allocations have failed since the arming. */
uint32_t alloc_faults_lift(void);
/* Allocations of this thread count and fail, or (true) are left alone, as are those of a
 * test beside the threads that it tests. */
void alloc_faults_spare(bool spared);
/* How many there were since the arming. */
uint32_t alloc_faults_count(void);

#endif
