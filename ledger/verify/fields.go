package verify

import "manti/domain"

// The columns of ledger.events, in the order of row.EventColumns.
const (
	fieldIndex = iota
	fieldRecordedAt
	fieldLeaf
	fieldID
	fieldKind
	fieldV
	fieldControl
	fieldAt
	fieldAuthor
	fieldCanonical
	fieldPrivateSalt
	fieldPrivate
	fieldRequest
	fieldSupersedes
	fieldOrg
	fieldProject
	fieldKey
	fieldUser
	fieldService
	fieldDialect
	fieldEndpoint
	fieldStream
	fieldAskedModel
	fieldModel
	fieldTier
	fieldFirstByte
	fieldFirstToken
	fieldEnded
	fieldOutcome
	fieldStatus
	fieldError
	fieldProvenance
	fieldEstimator
	fieldUsage
)

// Those behind the meters; charge and cost are followed by currency and version.
const (
	fieldCharge = fieldUsage + domain.MeterCount
	fieldHeld   = fieldCharge + 3
	fieldCost   = fieldHeld + 1
)

const (
	fieldProvider = fieldCost + 3 + iota
	fieldHost
	fieldRegion
	fieldCredential
	fieldProviderRequest
	fieldAttempts
	fieldRouteVersion
	fieldConfigVersion
	fieldReplica
	fieldSpool
	fieldEpoch
	fieldFlags
	eventFields
)

// The columns of ledger.erasable, in the order of row.ErasableColumns.
const (
	erasableIndex = iota
	erasableID
	erasableSalt
	erasableData
	erasableEndUser
	erasableSession
	erasableClient
	erasableTrace
	erasableTags
	erasableServedModel
	erasableErrorText
	erasableName
	erasableFields
)
