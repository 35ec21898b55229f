/* test_secret.c - keys of migrations, derived and sealed, against vectors that were computed
 * with Python's hashlib and libsodium's own functions.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "events/secret.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

/* The public key of the secret key 0x77 0x77 ... */
#define RECIPIENT "HPV5q6RaELodHvBtkfyiqp7QoRUFFWUxVUBdCxjLmmc"

static const struct position migration = {2, 1841}, given = {2, 2001};

static const uint8_t *site_key(void)
{
    static uint8_t key[SITE_KEY_SIZE];

    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)i;
    return key;
}

struct recipient {
    uint8_t secret[crypto_box_SECRETKEYBYTES];
    uint8_t public[RECIPIENT_SIZE];
};

static struct recipient recipient_of(uint8_t byte)
{
    struct recipient recipient;

    memset(recipient.secret, byte, sizeof recipient.secret);
    crypto_scalarmult_base(recipient.public, recipient.secret);
    return recipient;
}

static void seal(const struct position *of, const struct position *at,
                 const struct recipient *recipient, uint8_t ret_sealed[SEALED_KEY_SIZE])
{
    struct error err = {0};

    assert_int_equal(
        sealed_key_make(site_key(), of, at, recipient->public, ret_sealed, &err), 0);
}

static bool opens(const uint8_t sealed[SEALED_KEY_SIZE],
                  const struct recipient *recipient, uint8_t ret_key[32])
{
    return crypto_box_seal_open(ret_key, sealed, SEALED_KEY_SIZE, recipient->public,
                                recipient->secret) == 0;
}

/* The bytes are what they were on every machine before. */
static void test_vector(void **state)
{
    static const char key_hex[] =
        "5ebd932850a12f9d7a7129aebbd22a76d9c7f327ea0453eb293b1bcad6104a16";
    static const char sealed_text[] = "UuyvIHvUnOf1-H8Ap5OEcGQggjzJn40lsYLU2gQcxlVK9_"
                                      "Sq8mD-LBxBLQ-cZ7BjO-2ZQYYsdN7qiD5kcPK"
                                      "Fo6oitI2IwZokmW4N4MESdkE";
    struct recipient recipient = recipient_of(0x77);
    uint8_t public[RECIPIENT_SIZE], sealed[SEALED_KEY_SIZE], expected[SEALED_KEY_SIZE],
        key[32], expected_key[32];

    (void)state;
    assert_true(recipient_parse(bytes_str(RECIPIENT), public));
    assert_memory_equal(public, recipient.public, sizeof public);
    seal(&migration, &given, &recipient, sealed);
    assert_true(base64url_decode(bytes_str(sealed_text), expected, sizeof expected));
    assert_memory_equal(sealed, expected, sizeof expected);
    assert_true(opens(sealed, &recipient, key));
    assert_true(hex_decode(bytes_str(key_hex), expected_key, sizeof expected_key));
    assert_memory_equal(key, expected_key, sizeof key);
}

/* One key for one migration, whenever and for whomever it is sealed; another for every
 * other migration; and no box resembles another. */
static void test_what_differs(void **state)
{
    static const struct position others[] = {{2, 1842}, {3, 1841}, {0, 1}};
    struct recipient ann = recipient_of(1), bob = recipient_of(2);
    uint8_t first[SEALED_KEY_SIZE], again[SEALED_KEY_SIZE], other[SEALED_KEY_SIZE];
    uint8_t key[32], other_key[32];

    (void)state;
    seal(&migration, &given, &ann, first);
    seal(&migration, &given, &ann, again);
    assert_memory_equal(first, again, sizeof first);
    assert_true(opens(first, &ann, key));
    assert_false(opens(first, &bob, other_key));

    seal(&migration, &given, &bob, other);
    assert_true(opens(other, &bob, other_key));
    assert_memory_equal(other_key, key, sizeof key);
    assert_memory_not_equal(other, first, crypto_box_PUBLICKEYBYTES);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        seal(&migration, &others[i], &ann, other);
        assert_true(opens(other, &ann, other_key));
        assert_memory_equal(other_key, key, sizeof key);
        assert_memory_not_equal(other, first, crypto_box_PUBLICKEYBYTES);

        /* at the same place of a log that went another way: no ephemeral key is used twice */
        seal(&others[i], &given, &ann, other);
        assert_true(opens(other, &ann, other_key));
        assert_memory_not_equal(other_key, key, sizeof key);
        assert_memory_not_equal(other, first, crypto_box_PUBLICKEYBYTES);
    }
}

static bool parses(const uint8_t *public, size_t size)
{
    struct buf text = BUF_INIT;
    uint8_t parsed[RECIPIENT_SIZE];

    assert_int_equal(base64url_append(&text, public, size), 0);
    bool well = recipient_parse(buf_bytes(&text), parsed);
    buf_release(&text);
    return well;
}

/* Points whose shared secret is the same for all keys, in each of their spellings. */
static void test_low_order(void **state)
{
    static const char *const points[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    };
    uint8_t point[RECIPIENT_SIZE], sealed[SEALED_KEY_SIZE];
    struct error err = {0};

    (void)state;
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        assert_true(hex_decode(bytes_str(points[i]), point, sizeof point));
        assert_false(parses(point, sizeof point));
        point[RECIPIENT_SIZE - 1] |= 0x80;
        assert_false(parses(point, sizeof point));
    }
    memset(point, 0, sizeof point);
    assert_int_equal(sealed_key_make(site_key(), &migration, &given, point, sealed, &err),
                     ERROR_INVALID);
}

/* A second spelling of a point is no public key that anybody has. */
static void test_spelling(void **state)
{
    struct recipient recipient = recipient_of(3);
    uint8_t largest[RECIPIENT_SIZE], parsed[RECIPIENT_SIZE];

    (void)state;
    assert_true(parses(recipient.public, RECIPIENT_SIZE));
    recipient.public[RECIPIENT_SIZE - 1] |= 0x80;
    assert_false(parses(recipient.public, RECIPIENT_SIZE));

    memset(largest, 0xff, sizeof largest);
    largest[RECIPIENT_SIZE - 1] = 0x7f;
    largest[0] = 0xeb; /* p - 2 */
    assert_true(parses(largest, sizeof largest));
    largest[0] = 0xf0; /* p + 3 */
    assert_false(parses(largest, sizeof largest));
    largest[RECIPIENT_SIZE - 2] = 0xfe;
    assert_true(parses(largest, sizeof largest));

    assert_false(parses(recipient_of(3).public, RECIPIENT_SIZE - 1));
    assert_false(recipient_parse(BYTES_ABSENT, parsed));
    assert_false(recipient_parse(bytes_str(RECIPIENT "="), parsed));
    assert_false(recipient_parse(bytes_str(" " RECIPIENT), parsed));
    /* bits that mean nothing, and the other alphabet of base64 */
    assert_false(recipient_parse(bytes_str("HPV5q6RaELodHvBtkfyiqp7QoRUFFWUxVUBdCxjLmmd"),
                                 parsed));
    assert_false(recipient_parse(bytes_str("HPV5q6RaELodHvBtkfyiqp7QoRUFFWUxVUBdCxjLm+c"),
                                 parsed));
}

/* Is the page of an address left out of core files? */
static bool is_left_out(const void *address)
{
    char line[512];
    bool within = false, left_out = false;
    FILE *maps = fopen("/proc/self/smaps", "r");

    assert_non_null(maps);
    while (fgets(line, sizeof line, maps) != NULL) {
        unsigned long from, to;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            within = (uintptr_t)address >= from && (uintptr_t)address < to;
        else if (within && strncmp(line, "VmFlags:", 8) == 0)
            left_out = strstr(line, " dd") != NULL;
    }
    fclose(maps);
    return left_out;
}

static void test_memory(void **state)
{
    uint8_t *secret = secret_new(SITE_KEY_SIZE), *ordinary = malloc(SITE_KEY_SIZE);

    (void)state;
    assert_non_null(secret);
    assert_non_null(ordinary);
    memset(secret, 7, SITE_KEY_SIZE);
    assert_true(is_left_out(secret));
    assert_false(is_left_out(ordinary));
    secret_free(secret);
    secret_free(NULL);
    free(ordinary);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vector),    cmocka_unit_test(test_what_differs),
        cmocka_unit_test(test_low_order), cmocka_unit_test(test_spelling),
        cmocka_unit_test(test_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
