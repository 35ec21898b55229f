/* secret.c - see secret.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "events/secret.h"

#include <assert.h>
#include <string.h>

#include <sodium.h>

#define KEY_SIZE crypto_kdf_KEYBYTES
/* More than one of libsodium's or OpenSSL's hash functions takes of it. */
#define STACK_TO_WIPE 8192

static_assert(SITE_KEY_SIZE == KEY_SIZE, "all keys have one size");
static_assert(RECIPIENT_SIZE == crypto_box_PUBLICKEYBYTES, "X25519");
static_assert(SEALED_KEY_SIZE == crypto_box_SEALBYTES + KEY_SIZE, "the sealed box");
static_assert(SHA256_SIZE == crypto_hash_sha256_BYTES, "SHA-256");

/* ---- memory ------------------------------------------------------------------------ */

void *secret_new(size_t size)
{
    /* again and again does no harm */
    return sodium_init() < 0 ? NULL : sodium_malloc(size);
}

void secret_free(void *secret)
{
    sodium_free(secret);
}

void secret_wipe_stack(void)
{
    sodium_stackzero(STACK_TO_WIPE);
}

/* The results are ignored here and below: they tell of sizes that are right. */
void secret_sha256(struct bytes label, const void *secret, size_t size,
                   uint8_t ret_digest[SHA256_SIZE])
{
    crypto_hash_sha256_state state;

    (void)crypto_hash_sha256_init(&state);
    (void)crypto_hash_sha256_update(&state, label.data, label.size);
    (void)crypto_hash_sha256_update(&state, secret, size);
    (void)crypto_hash_sha256_final(&state, ret_digest); /* wipes the state */
    secret_wipe_stack();
}

/* ---- recipients -------------------------------------------------------------------- */

/* A number below 2^255 - 19: larger ones mean the same points again, and whoever opens a
 * box computes the nonce from the one spelling of its key. */
static bool is_canonical(const uint8_t recipient[RECIPIENT_SIZE])
{
    if (recipient[RECIPIENT_SIZE - 1] != 0x7f)
        return recipient[RECIPIENT_SIZE - 1] < 0x7f;
    for (size_t i = RECIPIENT_SIZE - 2; i > 0; i--) {
        if (recipient[i] != 0xff)
            return true;
    }
    return recipient[0] < 0xed;
}

/* With a point of low order the shared secret would be known to everybody. */
static bool has_low_order(const uint8_t recipient[RECIPIENT_SIZE])
{
    static const uint8_t any_number[crypto_scalarmult_SCALARBYTES] = {8};
    uint8_t shared[crypto_scalarmult_BYTES];

    return crypto_scalarmult(shared, any_number, recipient) != 0;
}

bool recipient_parse(struct bytes text, uint8_t ret_recipient[RECIPIENT_SIZE])
{
    return base64url_decode(text, ret_recipient, RECIPIENT_SIZE) &&
           is_canonical(ret_recipient) && !has_low_order(ret_recipient);
}

/* ---- derived keys ------------------------------------------------------------------ */

/* What a sealed key is made with. */
struct workshop {
    uint8_t of_shard[KEY_SIZE];
    uint8_t migration_key[KEY_SIZE];
    uint8_t of_event[KEY_SIZE];
    uint8_t ephemeral[crypto_box_SECRETKEYBYTES];
};

static void derive(struct workshop *workshop, const uint8_t *site_key,
                   const struct position *position, const char *shard_context,
                   const char *sequence_context, uint8_t *ret_key)
{
    (void)crypto_kdf_derive_from_key(workshop->of_shard, KEY_SIZE, position->shard,
                                     shard_context, site_key);
    (void)crypto_kdf_derive_from_key(ret_key, KEY_SIZE, position->sequence,
                                     sequence_context, workshop->of_shard);
}

static void derive_ephemeral(struct workshop *workshop, const struct position *migration,
                             const uint8_t *recipient)
{
    uint8_t box[RECIPIENT_SIZE + 4 + 8];

    memcpy(box, recipient, RECIPIENT_SIZE);
    write_u32be(box + RECIPIENT_SIZE, migration->shard);
    write_u64be(box + RECIPIENT_SIZE + 4, migration->sequence);
    (void)crypto_generichash(workshop->ephemeral, sizeof workshop->ephemeral, box,
                             sizeof box, workshop->of_event, KEY_SIZE);
}

/* crypto_box_seal(), but with an ephemeral key that is given. */
static int seal(const struct workshop *workshop, const uint8_t *recipient,
                uint8_t ret_sealed[SEALED_KEY_SIZE])
{
    uint8_t public[crypto_box_PUBLICKEYBYTES], nonce[crypto_box_NONCEBYTES];
    crypto_generichash_state hash;

    (void)crypto_scalarmult_base(public, workshop->ephemeral);
    (void)crypto_generichash_init(&hash, /* key= */ NULL, 0, sizeof nonce);
    (void)crypto_generichash_update(&hash, public, sizeof public);
    (void)crypto_generichash_update(&hash, recipient, RECIPIENT_SIZE);
    (void)crypto_generichash_final(&hash, nonce, sizeof nonce);
    memcpy(ret_sealed, public, sizeof public);
    return crypto_box_easy(ret_sealed + sizeof public, workshop->migration_key, KEY_SIZE,
                           nonce, recipient, workshop->ephemeral);
}

int sealed_key_make(const uint8_t site_key[SITE_KEY_SIZE],
                    const struct position *migration, const struct position *given,
                    const uint8_t recipient[RECIPIENT_SIZE],
                    uint8_t ret_sealed[SEALED_KEY_SIZE], struct error *err)
{
    struct workshop *workshop = secret_new(sizeof *workshop);

    if (workshop == NULL)
        return error_set(err, ERROR_NO_MEMORY, "out of memory while sealing a key");
    derive(workshop, site_key, migration, "kinlogMS", "kinlogMK",
           workshop->migration_key);
    derive(workshop, site_key, given, "kinlogES", "kinlogEK", workshop->of_event);
    derive_ephemeral(workshop, migration, recipient);
    int code = seal(workshop, recipient, ret_sealed);
    secret_free(workshop);
    secret_wipe_stack();
    if (code != 0)
        return error_set(err, ERROR_INVALID, "nothing can be sealed for this recipient");
    return 0;
}
