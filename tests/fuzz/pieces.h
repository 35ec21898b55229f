/* pieces.h - an input of the fuzzer as a list of texts and marks, so that one file holds keys, headers,
 * rows or whole records.
 *
 *     0..239        a text of that many bytes, which follow
 *     240..251, u8  a mark: 0..11, with an argument; what marks mean, the target says
 *     252..254      an absent text
 *     255, u16      a text of that many bytes (big-endian), which follow
 *
 * Every input is such a list: a text that the end cuts short is as long as it is.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_FUZZ_PIECES_H
#define TESTS_FUZZ_PIECES_H

#include "events/base/bytes.h"

#define PIECES_MAX 512 /* of one input; what follows is not read */
#define PIECE_MARKS 12

struct piece {
    bool is_mark;
    uint8_t mark, argument;
    struct bytes text; /* borrowed from the input; may be absent */
};

/* Takes the next piece off the input; false at its end. */
bool piece_next(struct bytes *input, struct piece *ret_piece);
/* Writes a piece if it fits; returns its size, or 0. */
size_t piece_write(const struct piece *piece, uint8_t *out, size_t room);

/* The texts of an input, each in memory of its own, so that the sanitizer sees the end of each. */
struct cutter {
    struct bytes rest;
    void *owned[2 * PIECES_MAX];
    size_t count;
};

struct cutter cutter_of(const uint8_t *data, size_t size);
void cutter_release(struct cutter *cutter); /* the texts are good until then */
bool cutter_done(const struct cutter *cutter);
/* The next piece, if it is a mark. */
bool cut_mark(struct cutter *cutter, struct piece *ret_mark);
/* The next piece, if it is a text; absent otherwise. */
struct bytes cut_text(struct cutter *cutter);
/* Likewise, but with a NUL behind it and none in it; never NULL. */
char *cut_string(struct cutter *cutter);

/* Memory of the cutter's own, of that size, that begins with text. */
void *cutter_own(struct cutter *cutter, struct bytes text, size_t size);

/* Ends the program, and the fuzzer keeps the input, if what must hold does not. */
#define expect(condition) expect_that((condition), #condition, __FILE__, __LINE__)
void expect_that(bool condition, const char *text, const char *file, int line);

/* ---- mutating ----------------------------------------------------------------------- */

/* Adds a word that decoders know (copied): mutations put it into texts. Called once, at the start. */
void word_add(const char *word);
/* Types, names and members of all schemas, and headers. */
void words_add_schemas(void);

/* One mutation of a plain text; returns its new size. */
size_t mutate_text(uint8_t *data, size_t size, size_t size_max, unsigned seed);
/* One mutation of a list of pieces; likewise. */
size_t mutate_pieces(uint8_t *data, size_t size, size_t size_max, unsigned seed);

/* libFuzzer's; each target defines the first, and the others if it wants them. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max,
                               unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t size_max);

#endif
