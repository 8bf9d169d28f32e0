/*
 * fault_document.h
 *		Faults as JSON.
 *
 *		{"kind": "status", "status": "UNAVAILABLE", "method": "ReserveCash", "percent": 5}
 *
 * kind			delay, status, result, drop, hang, reset or crash
 * when			"before" (default) or "after" the ledger acted
 * method		a name of the contract, or "*" for all (default)
 * account_id	only calls of this account; 0 for all (default)
 * percent		of the calls that fit, 0 to 100 (default)
 * times		ends after so many hits; 0 for never (default)
 * delay_ms		waited first, with every kind; a delay needs it
 * status		for kind status: name or number of a gRPC status, not OK
 * result		for kind result: name or number of a ResultCode
 * reset_code	for kind reset: HTTP/2 error code, 2 (INTERNAL_ERROR) by default
 */
#ifndef FAULT_DOCUMENT_H
#define FAULT_DOCUMENT_H

#include <jansson.h>

#include "faults.h"
#include "fields.h"

/* Reads an array of faults into |list|. Returns how many, or -1 with the error. */
extern int fault_document_read(const json_t *document, Fault list[ACCOUNT_FAULTS_MAX],
							   char error[FIELDS_ERROR_SIZE]);

/* The faults as they are, with all fields and their "hits". The caller owns it. */
extern json_t *fault_document_list(const Faults *faults);

#endif /* FAULT_DOCUMENT_H */
