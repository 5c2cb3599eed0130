package projections

// For tests in package projections_test.
var (
	CatchUpBy = catchUp
	Shadow    = func(p *Projection) *Projection { return p.in(shadow) }
)
