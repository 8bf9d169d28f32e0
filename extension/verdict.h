/*
 * verdict.h
 *		What an error of the Kafka client means for the record it was reported for.
 *
 * Pure: no PostgreSQL, and of librdkafka nothing but its error codes.
 */
#ifndef VERDICT_H
#define VERDICT_H

typedef enum Verdict
{
	VERDICT_DELIVERED,      /* all in-sync replicas have it */
	VERDICT_OUTAGE,         /* no fault of its own: to be tried again, nothing is counted */
	VERDICT_RECORD_REFUSED, /* its own fault, or that of a record in the same batch */
	VERDICT_TOPIC_REFUSED,  /* the fault of its topic: no record for that will do better */
} Verdict;

/* The verdict on a record that was reported with this rd_kafka_resp_err_t. */
extern Verdict verdict_of(int error);

#endif /* VERDICT_H */
