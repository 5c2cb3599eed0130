package projections

// For tests in package projections_test.
var (
	CatchUpBy = catchUp
	Shadow    = (*Projection).asShadow
)
