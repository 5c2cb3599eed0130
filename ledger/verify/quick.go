package verify

import "manti/domain"

// quick reports whether each column of a call and of its erasable part is what its
// JSON says, as thorough would find. False says nothing: thorough finds out.
// Most events of most ledgers need no more than this, at a tenth of the cost.
func (m *matcher) quick(e *entry) bool {
	if e.enc.Kind != domain.KindRequestCompleted || e.enc.Private == nil {
		return false
	}
	m.start(e.fields[:])
	m.head(e)
	m.part(e.enc.Public)
	m.public()
	m.partEnds()
	m.part(e.enc.Private)
	m.private()
	m.partEnds()
	if !m.all() {
		return false
	}
	if e.erasable == nil {
		return true
	}
	m.start(e.erasable)
	m.erasable(e)
	m.partEnds()
	return m.all()
}

// head compares what no JSON says.
func (m *matcher) head(e *entry) {
	m.isInt64(fieldIndex, e.index)
	m.isInt64(fieldRecordedAt, e.at.UnixMicro()-postgresEpoch)
	m.is(fieldLeaf, e.leaf[:])
	m.is(fieldKind, []byte(domain.KindRequestCompleted))
	m.isInt16(fieldV, domain.EncodingVersion)
	m.isBool(fieldControl, false)
	m.is(fieldCanonical, e.canonical)
	m.is(fieldPrivateSalt, e.enc.PrivateSalt[:])
	m.is(fieldPrivate, e.enc.Private)
}

func (m *matcher) public() {
	m.literal(`{"v":1,"kind":"RequestCompleted","id":`)
	id := m.id()
	m.is(fieldID, id[:])
	m.literal(`,"at":`)
	m.isInt64(fieldAt, m.time())
	m.text(fieldAuthor, "author")
	m.literal(`,"body":`)
	m.open()
	if m.member("request") {
		id = m.id()
	}
	m.is(fieldRequest, id[:])
	m.uuid(fieldSupersedes, "supersedes")
	m.needUUID(fieldOrg, "org")
	m.needUUID(fieldProject, "project")
	m.uuid(fieldKey, "key")
	m.uuid(fieldUser, "user")
	m.uuid(fieldService, "service")
	m.needText(fieldDialect, "dialect")
	m.needText(fieldEndpoint, "endpoint")
	m.need("stream")
	m.isBool(fieldStream, m.boolean())
	m.needText(fieldAskedModel, "asked_model")
	m.needText(fieldModel, "model")
	m.text(fieldTier, "tier")
	m.when(fieldFirstByte, "first_byte")
	m.when(fieldFirstToken, "first_token")
	m.when(fieldEnded, "ended")
	m.result()
	m.close()
	m.literal(`}`)
}

// result is how the call ended and what it used.
func (m *matcher) result() {
	m.needText(fieldOutcome, "outcome")
	m.status(fieldStatus)
	m.text(fieldError, "error")
	m.need("usage")
	m.open()
	for meter := range domain.Meter(domain.MeterCount) {
		m.positive(fieldUsage+int(meter), meter.String())
	}
	m.close()
	m.needText(fieldProvenance, "provenance")
	m.text(fieldEstimator, "estimator")
	m.price(fieldCharge, "charge")
	if !m.member("held") {
		m.null(fieldHeld)
		return
	}
	if m.decimal(fieldHeld) == 0 {
		m.bad = true
	}
}

// status reads the small number that is absent if it is 0.
func (m *matcher) status(c int) {
	if !m.member("status") {
		m.null(c)
		return
	}
	n := m.integer()
	if n == 0 {
		m.bad = true
	}
	m.isInt16(c, n)
}

func (m *matcher) private() {
	m.open()
	m.needText(fieldProvider, "provider")
	m.text(fieldHost, "host")
	m.text(fieldRegion, "region")
	m.uuid(fieldCredential, "credential")
	m.price(fieldCost, "cost")
	m.attempts()
	if m.member("raw_usage") {
		m.object()
	}
	m.text(fieldRouteVersion, "route_version")
	m.text(fieldConfigVersion, "config_version")
	m.text(fieldReplica, "replica")
	m.uuid(fieldSpool, "spool")
	m.positive(fieldEpoch, "epoch")
	if m.member("paid_from") {
		m.list(m.lease)
	}
	m.texts(fieldFlags, "flags")
	m.close()
}

// attempts compares the number of tries and the provider's id of the last.
func (m *matcher) attempts() {
	count, last := int64(0), []byte(nil)
	if m.member("attempts") {
		m.list(func() { last = m.attempt(); count++ })
	}
	m.isInt16(fieldAttempts, count)
	m.isText(fieldProviderRequest, last)
}

// attempt reads a try, of which no column says more than the provider's id.
func (m *matcher) attempt() (requestID []byte) {
	m.open()
	m.need("provider")
	m.str()
	m.skipText("host")
	m.need("model")
	m.str()
	m.skipID("credential")
	if m.member("request_id") {
		requestID = m.str()
	}
	m.need("started")
	m.time()
	m.skipTime("first_byte")
	m.skipTime("ended")
	if m.member("status") {
		m.integer()
	}
	m.skipText("error")
	if m.member("usage") {
		m.usage()
	}
	m.need("cost")
	m.amount()
	m.close()
	return requestID
}

// lease reads what holds the call's money.
func (m *matcher) lease() {
	m.open()
	m.need("budget")
	m.id()
	m.need("window")
	m.time()
	m.need("lease")
	m.id()
	m.need("hold")
	m.amount()
	m.close()
}
