/* test_hash.c - SHA-256, HMAC, murmur2 and the text forms, against published vectors.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "events/base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_hex(const uint8_t digest[SHA256_SIZE], const char *expected)
{
    struct buf hex = BUF_INIT;

    assert_int_equal(hex_append(&hex, digest, SHA256_SIZE), 0);
    assert_string_equal(buf_cstr(&hex), expected);
    buf_release(&hex);
}

/* FIPS 180-4 examples, in one call and in pieces, with one hasher used again. */
static void test_sha256(void **state)
{
    static const char two_blocks[] =
        "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    struct sha256 *hasher = sha256_new();
    uint8_t digest[SHA256_SIZE];

    (void)state;
    assert_non_null(hasher);
    sha256_once("abc", 3, digest);
    assert_hex(digest,
               "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    sha256_once(NULL, 0, digest);
    assert_hex(digest,
               "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    for (int round = 0; round < 2; round++) {
        sha256_begin(hasher);
        for (size_t i = 0; i < strlen(two_blocks); i++) {
            sha256_add(hasher, two_blocks + i, 1);
        }
        sha256_add(hasher, NULL, 0);
        sha256_end(hasher, digest);
        assert_hex(digest,
                   "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    }
    sha256_begin(hasher);
    sha256_add_u32be(hasher, 0x61626364);
    sha256_add_u64be(hasher, 0x65666768696a6b6c);
    sha256_end(hasher, digest);
    uint8_t whole[SHA256_SIZE];

    sha256_once("abcdefghijkl", 12, whole);
    assert_memory_equal(digest, whole, SHA256_SIZE);
    sha256_free(hasher);
    sha256_free(NULL);
}

/* RFC 4231 cases 2 and 6, and keys around the size of a block. */
static void test_hmac(void **state)
{
    uint8_t key[131];
    uint8_t mac[SHA256_SIZE];

    (void)state;
    hmac_sha256(bytes_str("Jefe"), bytes_str("what do ya want for nothing?"), mac);
    assert_hex(mac, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof(key));
    hmac_sha256(bytes_of(key, sizeof(key)),
                bytes_str("Test Using Larger Than Block-Size Key - Hash Key First"), mac);
    assert_hex(mac, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    memset(key, 'k', sizeof(key));
    hmac_sha256(bytes_of(key, 64), bytes_str("m"), mac);
    assert_hex(mac, "3b7a8d453e76edb519238a515105a57508d0f169f480ebeee120a9e7803289fa");
    hmac_sha256(bytes_of(key, 65), bytes_str("m"), mac);
    assert_hex(mac, "c2d7d4c2256ddb097409ec0c67e1d58fa1a007fc6932cac0d892a525d08af7cc");
    hmac_sha256(BYTES_ABSENT, BYTES_ABSENT, mac);
    assert_hex(mac, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

/* RFC 4648's examples without padding, and every length there and back. */
static void test_base64url(void **state)
{
    static const char *const pairs[][2] = {
        {"", ""},
        {"f", "Zg"},
        {"fo", "Zm8"},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg"},
        {"fooba", "Zm9vYmE"},
        {"foobar", "Zm9vYmFy"},
        {"\xff\xef\xbe", "_---"},
    };
    struct buf text = BUF_INIT;
    uint8_t data[64];
    uint8_t back[64];

    (void)state;
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        buf_clear(&text);
        assert_int_equal(base64url_append(&text, pairs[i][0], strlen(pairs[i][0])), 0);
        assert_string_equal(buf_cstr(&text), pairs[i][1]);
    }
    for (size_t size = 0; size <= sizeof(data); size++) {
        for (size_t i = 0; i < size; i++) {
            data[i] = (uint8_t)(i * 37 + size * 11);
        }
        buf_clear(&text);
        assert_int_equal(base64url_append(&text, data, size), 0);
        assert_true(base64url_decode(buf_bytes(&text), back, size));
        assert_memory_equal(data, back, size);
        assert_false(base64url_decode(buf_bytes(&text), back, size + 1));
    }
    buf_release(&text);
}

/* Padding, other alphabets, wrong lengths and second spellings are refused, and write
 * nothing. */
static void test_base64url_refuses(void **state)
{
    uint8_t data[3] = {7, 7, 7};

    (void)state;
    assert_false(base64url_decode(bytes_str("Zg=="), data, 1));
    assert_false(base64url_decode(bytes_str("Zh"), data, 1));
    assert_false(base64url_decode(bytes_str("Zm9"), data, 2));
    assert_false(base64url_decode(bytes_str("Zm+v"), data, 3));
    assert_false(base64url_decode(bytes_str("Zm/v"), data, 3));
    assert_false(base64url_decode(bytes_str("Zm 9"), data, 3));
    assert_false(base64url_decode(bytes_str("Zm9v"), data, 2));
    assert_false(base64url_decode(BYTES_ABSENT, data, 3));
    assert_memory_equal(data, "\7\7\7", 3);
}

/* Hex is in lower case only, both ways. */
static void test_hex(void **state)
{
    struct buf text = BUF_INIT;
    uint8_t data[4] = {0, 0x1f, 0xab, 0xff};
    uint8_t back[4] = {7, 7, 7, 7};

    (void)state;
    assert_int_equal(hex_append(&text, data, sizeof(data)), 0);
    assert_string_equal(buf_cstr(&text), "001fabff");
    assert_false(hex_decode(bytes_str("001FABFF"), back, sizeof(back)));
    assert_false(hex_decode(bytes_str("001fabf"), back, sizeof(back)));
    assert_false(hex_decode(bytes_str("001fabfg"), back, sizeof(back)));
    assert_false(hex_decode(bytes_str("001fabff00"), back, sizeof(back)));
    assert_memory_equal(back, "\7\7\7\7", 4);
    assert_true(hex_decode(buf_bytes(&text), back, sizeof(back)));
    assert_memory_equal(data, back, sizeof(data));
    buf_release(&text);
}

/* The vectors of Kafka's own UtilsTest, then slots of keys as we use them. */
static void test_murmur2(void **state)
{
    (void)state;
    assert_int_equal((int32_t)murmur2(bytes_str("21")), -973932308);
    assert_int_equal((int32_t)murmur2(bytes_str("foobar")), -790332482);
    assert_int_equal((int32_t)murmur2(bytes_str("a-little-bit-long-string")), -985981536);
    assert_int_equal((int32_t)murmur2(bytes_str("a-little-bit-longer-string")),
                     -1486304829);
    assert_int_equal(
        (int32_t)murmur2(bytes_str("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8")),
        -58897971);
    assert_int_equal((int32_t)murmur2(bytes_str("abc")), 479470107);
    assert_int_equal(murmur2(bytes_str("")), 275646681);
    assert_int_equal(murmur2(bytes_str("\xff\xfe\xfd")), 998637092);
    assert_int_equal(slot_of_key(bytes_str("device:1")), 221);
    assert_int_equal(slot_of_key(bytes_str("policy")), 222);
    assert_int_equal(slot_of_key(bytes_str("21")), 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256),    cmocka_unit_test(test_hmac),
        cmocka_unit_test(test_base64url), cmocka_unit_test(test_base64url_refuses),
        cmocka_unit_test(test_hex),       cmocka_unit_test(test_murmur2),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
