/* Send.java - sends commands and waits for the answer to each, with kafka-clients.
 *
 *     java -cp 'build/examples:build/kafka-libs/*' Send BROKER PREFIX <examples/commands.tsv
 *
 * SPDX-License-Identifier: Apache-2.0 */
import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.*;
import java.time.*;
import java.util.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.*;

public class Send {
    static final String SOURCE = "/examples"; // who sends; source and id together are the command's id

    static ProducerRecord<String, String> command(String topic, String id, String type, String key, String data) {
        var record = new ProducerRecord<>(topic, key.isEmpty() ? null : key, data);
        Map.of("ce_specversion", "1.0", "ce_id", id, "ce_source", SOURCE, "ce_type", type)
            .forEach((name, value) -> record.headers().add(name, value.getBytes(UTF_8)));
        return record;
    }

    static String header(ConsumerRecord<?, ?> record, String name) {
        var header = record.headers().lastHeader(name);
        return header == null ? "" : new String(header.value(), UTF_8);
    }

    static ConsumerRecord<?, String> answerTo(Consumer<String, String> replies, String id) {
        for (var end = Instant.now().plusSeconds(30); Instant.now().isBefore(end);)
            for (var record : replies.poll(Duration.ofMillis(200)))
                if (header(record, "ce_causationid").equals(id) && header(record, "ce_causationsource").equals(SOURCE))
                    return record;
        throw new IllegalStateException(id + ": no answer in time; sent again, it will not take effect twice");
    }

    public static void main(String[] arguments) throws Exception {
        var settings = Map.<String, Object>of("bootstrap.servers", arguments[0]);
        var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
        var replies = new KafkaConsumer<>(settings, new StringDeserializer(), new StringDeserializer());
        var partitions = replies.partitionsFor(arguments[1] + ".replies").stream()
            .map(p -> new TopicPartition(p.topic(), p.partition())).toList();
        replies.assign(partitions);
        replies.endOffsets(partitions).forEach(replies::seek); // before the first command is sent
        var out = new PrintStream(System.out, true, UTF_8);
        var lines = new BufferedReader(new InputStreamReader(System.in, UTF_8));
        for (String line; (line = lines.readLine()) != null;) {
            String[] field = line.split("\t");
            producer.send(command(arguments[1] + ".commands", field[0], field[1], field[2], field[3])).get();
            var answer = answerTo(replies, field[0]);
            out.println(String.join("\t", field[0], header(answer, "kinlog_forwarded"), header(answer, "ce_repeated"),
                                    answer.value()));
        }
        producer.close();
        replies.close();
    }
}
