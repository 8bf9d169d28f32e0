/*
 * verdict.c
 *		What an error of the Kafka client means for the record it was reported for.
 *
 * DESIGN	One table of the errors that are a record's own. Whatever is not in it is an outage: to
 *			take an outage for a record's fault would end with the whole backlog among the dead
 *			letters, and the other mistake only costs further attempts.
 *
 *			A broker accepts or refuses the records of a batch together, so one that is too large
 *			takes its neighbours with it. Those errors are told apart: who is to blame shows when
 *			each is sent alone (delivery.c).
 *
 *			A fatal error of the client is an outage for its records: they are sound, and the next
 *			process sends them.
 */
#include "verdict.h"

#include <librdkafka/rdkafka.h>
#include <stddef.h>

static const struct
{
	rd_kafka_resp_err_t error;
	Verdict verdict;
} own_errors[] = {
	/* Larger than message.max.bytes here, or than max.message.bytes of the topic. */
	{RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, VERDICT_RECORD_REFUSED},
	/* The batch is larger than a segment of the log. */
	{RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE, VERDICT_RECORD_REFUSED},
	/* The broker cannot read it: a damaged record, or a codec that it does not know. */
	{RD_KAFKA_RESP_ERR_INVALID_MSG, VERDICT_RECORD_REFUSED},
	{RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE, VERDICT_RECORD_REFUSED},
	{RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE, VERDICT_RECORD_REFUSED},
	/* It breaks a rule of the topic: its clock, its compaction, an interceptor. */
	{RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP, VERDICT_RECORD_REFUSED},
	{RD_KAFKA_RESP_ERR_INVALID_RECORD, VERDICT_RECORD_REFUSED},
	{RD_KAFKA_RESP_ERR_POLICY_VIOLATION, VERDICT_RECORD_REFUSED},
	/* The topic, for every record alike. Nothing of it helps to wait for without an operator. */
	{RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, VERDICT_TOPIC_REFUSED},
	{RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, VERDICT_TOPIC_REFUSED},
	/* After topic.metadata.propagation.max.ms (30 s) of looking for it: the first for what waited
	   meanwhile, the second for what comes later. While a partition merely moves, brokers say the
	   first as well, but then the client tries again and does not report it. */
	{RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, VERDICT_TOPIC_REFUSED},
	{RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, VERDICT_TOPIC_REFUSED},
};

Verdict
verdict_of(int error)
{
	if (error == RD_KAFKA_RESP_ERR_NO_ERROR)
		return VERDICT_DELIVERED;
	for (size_t i = 0; i < sizeof(own_errors) / sizeof(own_errors[0]); i++)
	{
		if (own_errors[i].error == error)
			return own_errors[i].verdict;
	}
	return VERDICT_OUTAGE;
}
