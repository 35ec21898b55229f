// Sends commands and waits for the answer to each, with franz-go: build/examples/send-go BROKER PREFIX <commands.tsv
//
// SPDX-License-Identifier: Apache-2.0
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const source = "/examples" // who sends; source and id together are the command's id

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func command(id, kind, key, data string) *kgo.Record {
	return &kgo.Record{Key: append([]byte(nil), key...), Value: []byte(data), Headers: []kgo.RecordHeader{
		{Key: "ce_specversion", Value: []byte("1.0")}, {Key: "ce_id", Value: []byte(id)},
		{Key: "ce_source", Value: []byte(source)}, {Key: "ce_type", Value: []byte(kind)}}}
}

func answerTo(ctx context.Context, replies *kgo.Client, id string) (answer []byte, headers map[string]string) {
	for headers["ce_causationsource"] != source || headers["ce_causationid"] != id {
		fetched := replies.PollRecords(ctx, 1) // one at most, or an error when the time is over
		for _, record := range must(fetched.Records(), fetched.Err0()) {
			answer, headers = record.Value, map[string]string{}
			for _, header := range record.Headers {
				headers[header.Key] = string(header.Value)
			}
		}
	}
	return answer, headers
}

func main() {
	ctx, broker, prefix := context.Background(), os.Args[1], os.Args[2]
	producer := must(kgo.NewClient(kgo.SeedBrokers(broker), kgo.DefaultProduceTopic(prefix+".commands")))
	ends := must(kadm.NewClient(producer).ListEndOffsets(ctx, prefix+".replies")) // before the first command is sent
	replies := must(kgo.NewClient(kgo.SeedBrokers(broker), kgo.ConsumePartitions(ends.KOffsets())))
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		field := strings.Split(lines.Text(), "\t")
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		must(producer.ProduceSync(ctx, command(field[0], field[1], field[2], field[3])).First())
		answer, headers := answerTo(ctx, replies, field[0])
		cancel()
		fmt.Printf("%s\t%s\t%s\t%s\n", field[0], headers["kinlog_forwarded"], headers["ce_repeated"], answer)
	}
}
