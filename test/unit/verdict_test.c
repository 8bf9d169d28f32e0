/*
 * verdict_test.c
 *		Which errors of the Kafka client are a record's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <librdkafka/rdkafka.h>

#include "verdict.h"

static void
no_error_is_a_delivery(void **state)
{
	(void) state;
	assert_int_equal(verdict_of(RD_KAFKA_RESP_ERR_NO_ERROR), VERDICT_DELIVERED);
}

static void
an_outage_never_counts_as_an_attempt(void **state)
{
	static const rd_kafka_resp_err_t errors[] = {
		RD_KAFKA_RESP_ERR__TRANSPORT,
		RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN,
		RD_KAFKA_RESP_ERR__MSG_TIMED_OUT,
		RD_KAFKA_RESP_ERR__TIMED_OUT,
		RD_KAFKA_RESP_ERR__QUEUE_FULL,
		RD_KAFKA_RESP_ERR__FATAL,
		RD_KAFKA_RESP_ERR__PURGE_QUEUE,
		RD_KAFKA_RESP_ERR__PURGE_INFLIGHT,
		RD_KAFKA_RESP_ERR__RESOLVE,
		RD_KAFKA_RESP_ERR__AUTHENTICATION,
		RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
		RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
		RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
		RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
		RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
		RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
		RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED,
		RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED,
		RD_KAFKA_RESP_ERR_UNKNOWN,
	};

	(void) state;
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		assert_int_equal(verdict_of(errors[i]), VERDICT_OUTAGE);
}

static void
what_a_batch_is_refused_for_may_be_the_fault_of_another_record(void **state)
{
	static const rd_kafka_resp_err_t errors[] = {
		RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
		RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE,
		RD_KAFKA_RESP_ERR_INVALID_MSG,
		RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE,
		RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE,
		RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP,
		RD_KAFKA_RESP_ERR_INVALID_RECORD,
		RD_KAFKA_RESP_ERR_POLICY_VIOLATION,
	};

	(void) state;
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		assert_int_equal(verdict_of(errors[i]), VERDICT_RECORD_REFUSED);
}

static void
what_is_wrong_with_the_topic_counts_for_every_record(void **state)
{
	static const rd_kafka_resp_err_t errors[] = {
		RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
		RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION,
		RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
		RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC,
	};

	(void) state;
	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		assert_int_equal(verdict_of(errors[i]), VERDICT_TOPIC_REFUSED);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_error_is_a_delivery),
		cmocka_unit_test(an_outage_never_counts_as_an_attempt),
		cmocka_unit_test(what_a_batch_is_refused_for_may_be_the_fault_of_another_record),
		cmocka_unit_test(what_is_wrong_with_the_topic_counts_for_every_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
