package db_test

import (
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/shopspring/decimal"

	"manti/db"
	"manti/db/dbtest"
)

// exact are numbers as Postgres shows them; each must survive digit by digit.
var exact = []string{
	"0", "0.00", "1", "-1", "10", "9999", "10000", "10001", "100000000", "1.5", "1.50", "-0.000000000000000001",
	"0.1", "0.01", "0.001", "0.0001", "0.00001", "123456789.123456789123456789", "9999999999999999", "10000000000000000",
	"18446744073709551615", "18446744073709551616", "-340282366920938463463374607431768211456.000000001",
	"1" + strings.Repeat("0", 200), strings.Repeat("9", 130) + "." + strings.Repeat("1", 130),
	"0." + strings.Repeat("0", 500) + "1",
}

func TestNumericRoundTrip(t *testing.T) {
	t.Parallel()
	pool := dbtest.Open(t, dbtest.Options{Empty: true}).Pool(t, "")
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			for _, text := range append(randomNumbers(200), exact...) {
				want := decimal.RequireFromString(text)
				var got decimal.Decimal
				var shown string
				if err := pool.QueryRow(t.Context(), `SELECT $1::numeric, ($1::numeric)::text`, mode, want).Scan(&got, &shown); err != nil {
					t.Fatalf("%s: %v", text, err)
				}
				if shown != text {
					t.Errorf("Postgres got %s for %s", shown, text)
				}
				if !got.Equal(want) || got.Exponent() != want.Exponent() {
					t.Errorf("came back as %v×10^%d, want %v×10^%d", got.Coefficient(), got.Exponent(), want.Coefficient(), want.Exponent())
				}
			}
		})
	}
}

// randomNumbers returns numbers with up to 40 digits on each side of the point.
func randomNumbers(n int) []string {
	random := rand.New(rand.NewPCG(1, 2))
	numbers := make([]string, n)
	for i := range numbers {
		coefficient := new(big.Int)
		for range 1 + random.IntN(4) {
			coefficient.Lsh(coefficient, 64)
			coefficient.Or(coefficient, new(big.Int).SetUint64(random.Uint64()>>random.IntN(64)))
		}
		if random.IntN(2) == 0 {
			coefficient.Neg(coefficient)
		}
		scale := random.IntN(40)
		numbers[i] = decimal.NewFromBigInt(coefficient, int32(-scale)).StringFixed(int32(scale))
	}
	return numbers
}

func TestNumericPositiveExponent(t *testing.T) {
	t.Parallel()
	pool := dbtest.Open(t, dbtest.Options{Empty: true}).Pool(t, "")
	for exponent := range int32(12) {
		want := decimal.New(37, exponent)
		var got decimal.Decimal
		var shown string
		if err := pool.QueryRow(t.Context(), `SELECT $1::numeric, ($1::numeric)::text`, want).Scan(&got, &shown); err != nil {
			t.Fatal(err)
		}
		if !got.Equal(want) || shown != want.String() {
			t.Errorf("37e%d: Postgres has %s, came back as %s", exponent, shown, got)
		}
	}
}

func TestNumericCopyNullAndArrays(t *testing.T) {
	t.Parallel()
	pool := dbtest.Open(t, dbtest.Options{Empty: true}).Pool(t, "")
	ctx := t.Context()
	if _, err := pool.Exec(ctx, `CREATE TABLE m (i int, a numeric NOT NULL, b numeric)`); err != nil {
		t.Fatal(err)
	}
	amount := decimal.RequireFromString("1234.567000000000000001")
	rows := [][]any{
		{1, amount, decimal.NewNullDecimal(amount)}, {2, amount.Neg(), decimal.NullDecimal{}}, {3, amount, nil}, {4, amount, &amount},
	}
	if _, err := pool.CopyFrom(ctx, pgx.Identifier{"m"}, []string{"i", "a", "b"}, pgx.CopyFromRows(rows)); err != nil {
		t.Fatal(err)
	}
	got, err := pool.Query(ctx, `SELECT b FROM m ORDER BY i`)
	if err != nil {
		t.Fatal(err)
	}
	values, err := pgx.CollectRows(got, pgx.RowTo[decimal.NullDecimal])
	if err != nil {
		t.Fatal(err)
	}
	want := []decimal.NullDecimal{decimal.NewNullDecimal(amount), {}, {}, decimal.NewNullDecimal(amount)}
	if diff := cmp.Diff(want, values); diff != "" {
		t.Errorf("copied (-want +got):\n%s", diff)
	}
	var pointer *decimal.Decimal
	if err := pool.QueryRow(ctx, `SELECT b FROM m WHERE i = 2`).Scan(&pointer); err != nil || pointer != nil {
		t.Errorf("NULL into a pointer: %v, %v", pointer, err)
	}
	var plain decimal.Decimal
	if err := pool.QueryRow(ctx, `SELECT b FROM m WHERE i = 2`).Scan(&plain); err == nil {
		t.Error("NULL was scanned into a plain decimal")
	}
	list := []decimal.Decimal{amount, decimal.Zero, amount.Neg()}
	var back []decimal.Decimal
	if err := pool.QueryRow(ctx, `SELECT array_agg(x) FROM unnest($1::numeric[]) x`, list).Scan(&back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(list, back); diff != "" {
		t.Errorf("array (-want +got):\n%s", diff)
	}
}

func TestNumericRefuses(t *testing.T) {
	t.Parallel()
	pool := dbtest.Open(t, dbtest.Options{Empty: true}).Pool(t, "")
	ctx := t.Context()
	for _, text := range []string{"NaN", "Infinity", "-Infinity"} {
		for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeSimpleProtocol} {
			var got decimal.Decimal
			if err := pool.QueryRow(ctx, `SELECT '`+text+`'::numeric`, mode).Scan(&got); err == nil {
				t.Errorf("%s was read as %s", text, got)
			}
		}
	}
	var float float64
	if err := pool.QueryRow(ctx, `SELECT 1.5::numeric`).Scan(&float); err == nil {
		t.Errorf("numeric was read into a float: %g", float)
	}
	if _, err := pool.Exec(ctx, `SELECT $1::numeric`, 1.5); err == nil {
		t.Error("a float was written as numeric")
	}
	for _, tooLong := range []decimal.Decimal{decimal.New(1, 1_000_000_000), decimal.New(1, -20_000)} {
		if _, err := pool.Exec(ctx, `SELECT $1::numeric`, tooLong); err == nil {
			t.Errorf("10^%d was written", tooLong.Exponent())
		}
	}
}

// FuzzNumericWire feeds bytes to the decoder: it must not panic, and what it
// accepts must be written back as the same number.
func FuzzNumericWire(f *testing.F) {
	types := pgtype.NewMap()
	db.RegisterTypes(types)
	for _, text := range exact[:20] {
		wire, err := types.Encode(pgtype.NumericOID, pgtype.BinaryFormatCode, decimal.RequireFromString(text), nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	f.Add([]byte{0, 0, 0, 0, 0xC0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, wire []byte) {
		var number, again decimal.Decimal
		if types.Scan(pgtype.NumericOID, pgtype.BinaryFormatCode, wire, &number) != nil {
			return
		}
		back, err := types.Encode(pgtype.NumericOID, pgtype.BinaryFormatCode, number, nil)
		if err != nil {
			return // more digits than Postgres keeps
		}
		if err := types.Scan(pgtype.NumericOID, pgtype.BinaryFormatCode, back, &again); err != nil || !again.Equal(number) {
			t.Errorf("%x: read %s, written and read again %s, %v", wire, number, again, err)
		}
	})
}

func BenchmarkNumericEncode(b *testing.B) {
	types := pgtype.NewMap()
	db.RegisterTypes(types)
	amount := decimal.RequireFromString("0.000123456789")
	buf := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := types.Encode(pgtype.NumericOID, pgtype.BinaryFormatCode, amount, buf[:0]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNumericDecode(b *testing.B) {
	types := pgtype.NewMap()
	db.RegisterTypes(types)
	wire, err := types.Encode(pgtype.NumericOID, pgtype.BinaryFormatCode, decimal.RequireFromString("0.000123456789"), nil)
	if err != nil {
		b.Fatal(err)
	}
	var amount decimal.Decimal
	b.ReportAllocs()
	for b.Loop() {
		if err := types.Scan(pgtype.NumericOID, pgtype.BinaryFormatCode, wire, &amount); err != nil {
			b.Fatal(err)
		}
	}
}
