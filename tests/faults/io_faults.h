/* io_faults.h - makes the n-th input/output call on files below one folder fail.
 *
 * io_faults.c stands in front of libc's functions: linked into a test program, it is found
 * first by the libraries. Sockets, pipes, eventfds and files elsewhere are never touched.
 *
 * What is to fail stands in memory that the program's children share.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FAULTS_IO_FAULTS_H
#define TESTS_FAULTS_IO_FAULTS_H

#include <stdint.h>

#define IO_KINDS(X)                                                                      \
    X(WRITE, "write")                                                                    \
    X(SYNC, "sync")                                                                      \
    X(RENAME, "rename")                                                                  \
    X(CREATE, "create")                                                                  \
    X(SIZE, "size")                                                                      \
    X(MKDIR, "mkdir")                                                                    \
    X(LINK, "link")                                                                      \
    X(UNLINK, "unlink")                                                                  \
    X(CLOSE, "close")

enum io_kind {
#define X(name, text) IO_##name,
    IO_KINDS(X)
#undef X
        IO_KIND_COUNT
};

#define IO_ALL_KINDS ((1u << IO_KIND_COUNT) - 1)
#define IO_PLACE_SIZE 256

enum io_manner {
    IO_ERROR, /* the call fails with `error` */
    IO_SHORT  /* a write writes half of it and says so; what it cannot do fails */
};

struct io_faults {
    uint32_t armed;  /* 0 = nothing fails; calls are counted all the same */
    uint32_t kinds;  /* bits of enum io_kind: what counts, and may fail */
    uint32_t nth;    /* which call fails, from 1; 0 = none */
    uint32_t lasts;  /* 1 = all calls from the nth on fail */
    uint32_t error;  /* an errno */
    uint32_t manner; /* enum io_manner */
    uint32_t idle;   /* 1 = syncing and reserving space succeed and do nothing: quicker */
    uint32_t count;  /* calls so far */
    uint32_t failed; /* how many of them were made to fail */
    char folder[IO_PLACE_SIZE]; /* the real path, without a slash at its end */
    char place[IO_PLACE_SIZE];  /* the first call that failed: "sync /folder/file" */
};

/* Never NULL. */
struct io_faults *io_faults(void);

#endif
