/* embedded_broker.c - librdkafka's mock cluster as the broker of the demo and of tests.
 *
 * A fence around it: it keeps everything in memory, at most 5 MiB of each partition
 * (older records go without a word, a message above that size is acknowledged and lost),
 * knows neither fencing nor transactions nor the admin calls, and may acknowledge a
 * record twice after a fault. So it is good for a demo and for tests with small data, and
 * must never be called durable.
 *
 * It always listens on 127.0.0.1, port 0. For a fixed port this file defines bind(),
 * which librdkafka finds in place of the C library's since the program is linked with
 * -rdynamic. Ours does what bind() does, except in the one thread and during the one call
 * in which a mock cluster is made: then the descriptor to be bound becomes a copy of a
 * socket that listens on the wanted port already. Binding there and then would not do:
 * librdkafka 2.0.2 aborts when a mock cluster cannot bind.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _DEFAULT_SOURCE /* syscall() */

#include "agent/kafka/kafka.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "agent/kafka/handle.h"

struct embedded_broker {
    rd_kafka_t *rk;
    rd_kafka_mock_cluster_t *cluster;
};

/* The listening socket that the mock cluster being made in this thread gets; -1 = none is
 * made. */
static _Thread_local int reserved_fd = -1;

static bool is_any_port_of_loopback(const struct sockaddr *address, socklen_t size)
{
    struct sockaddr_in in;

    if (size < sizeof(in) || address->sa_family != AF_INET)
        return false;
    memcpy(&in, address, sizeof(in));
    return in.sin_port == 0 && in.sin_addr.s_addr == htonl(INADDR_LOOPBACK);
}

/* The C library's bind() for this whole program, the library's calls included: hands the
 * mock cluster the socket that listens on the wanted port already, and is the system call
 * otherwise. */
int embedded_broker_bind(int fd, const struct sockaddr *address,
                         socklen_t size) __asm__("bind");

int embedded_broker_bind(int fd, const struct sockaddr *address, socklen_t size)
{
    if (reserved_fd >= 0 && is_any_port_of_loopback(address, size))
        return syscall(SYS_dup3, reserved_fd, fd, O_CLOEXEC) < 0 ? -1 : 0;
    return (int)syscall(SYS_bind, fd, address, size);
}

/* Opens a socket that listens on the port, so that nobody else can take it. */
static int reserve_port(int port, int *ret_fd, struct error *err)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    const int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
        syscall(SYS_bind, fd, &in, sizeof(in)) == 0 && listen(fd, SOMAXCONN) == 0) {
        *ret_fd = fd;
        return 0;
    }
    if (errno == EADDRINUSE)
        (void)error_set(
            err, ERROR_LOCKED,
            "port %d of 127.0.0.1 is taken by another program; choose another port",
            port);
    else
        (void)error_set(err, ERROR_IO, "cannot listen on 127.0.0.1:%d: %s", port,
                        strerror(errno));
    if (fd >= 0)
        (void)close(fd);
    return err && err->code ? err->code : ERROR_IO;
}

static int open_cluster(struct embedded_broker *broker, int port, struct error *err)
{
    int fd = -1, r;

    if (port > 0) {
        r = reserve_port(port, &fd, err);
        if (r < 0)
            return r;
    }
    reserved_fd = fd;
    broker->cluster = rd_kafka_mock_cluster_new(broker->rk, 1);
    reserved_fd = -1;
    if (fd >= 0)
        (void)close(fd);
    if (!broker->cluster)
        return error_set(err, ERROR_IO, "the embedded broker cannot be started");
    return 0;
}

static int check_port(const struct embedded_broker *broker, int port, struct error *err)
{
    const char *bootstrap = embedded_broker_bootstrap(broker);
    const char *colon = strrchr(bootstrap, ':');

    if (port == 0 || (colon && strtol(colon + 1, NULL, 10) == port))
        return 0;
    return error_set(
        err, ERROR_INVALID,
        "the embedded broker listens on %s, not on port %d: this program was linked "
        "without -rdynamic",
        bootstrap, port);
}

/* The mock serves a call and then empties its wake-up pipe, the signal of a call made
 * meanwhile included: that call waits for a second. So a moment is left between two
 * calls. */
static void leave_a_moment(void)
{
    const struct timespec moment = {0, 2000000};

    (void)nanosleep(&moment, NULL);
}

static int create_topics(struct embedded_broker *broker, const struct topic_names *names,
                         int32_t partitions, struct error *err)
{
    const char *const all[] = {names->commands, names->events, names->replies,
                               names->dead_letters, names->storage};

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        rd_kafka_resp_err_t code;

        if (!all[i])
            continue;
        leave_a_moment();
        code = rd_kafka_mock_topic_create(broker->cluster, all[i], partitions,
                                          /* replication_factor= */ 1);
        if (code)
            return handle_error(err, code, all[i], NULL);
    }
    return 0;
}

int embedded_broker_open(int port, const struct topic_names *names, int32_t partitions,
                         struct embedded_broker **ret_broker, struct error *err)
{
    struct embedded_broker *broker = calloc(1, sizeof(*broker));
    rd_kafka_conf_t *conf;
    char text[256];
    int r;

    if (!broker)
        return error_set(err, ERROR_NO_MEMORY, "out of memory");
    if (port < 0 || port > 65535) {
        free(broker);
        return error_set(err, ERROR_INVALID, "%d is no port", port);
    }
    conf = rd_kafka_conf_new();
    /* The sockets of the mock are those of this handle; with Nagle's delay an answer
     * takes 40 ms. */
    if (rd_kafka_conf_set(conf, "socket.nagle.disable", "true", text, sizeof(text)) ||
        rd_kafka_conf_set(conf, "log.queue", "true", text, sizeof(text))) {
        rd_kafka_conf_destroy(conf);
        free(broker);
        return error_set(err, ERROR_CONFIG, "Kafka: %s", text);
    }
    r = handle_open(RD_KAFKA_PRODUCER, conf, &broker->rk, err);
    if (r < 0) {
        free(broker);
        return r;
    }
    r = open_cluster(broker, port, err);
    if (r == 0)
        r = check_port(broker, port, err);
    if (r == 0)
        r = create_topics(broker, names, partitions, err);
    if (r < 0) {
        embedded_broker_close(broker);
        return r;
    }
    *ret_broker = broker;
    return 0;
}

const char *embedded_broker_bootstrap(const struct embedded_broker *broker)
{
    return rd_kafka_mock_cluster_bootstraps(broker->cluster);
}

void *embedded_broker_mock(struct embedded_broker *broker)
{
    return broker->cluster;
}

void embedded_broker_close(struct embedded_broker *broker)
{
    if (!broker)
        return;
    if (broker->cluster) {
        leave_a_moment();
        rd_kafka_mock_cluster_destroy(broker->cluster);
    }
    handle_destroy(broker->rk, NULL, NULL);
    free(broker);
}
