package db

import (
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/shopspring/decimal"
)

// RegisterTypes maps numeric to decimal.Decimal in both directions, NULL to
// decimal.NullDecimal or *decimal.Decimal, and numeric[] to their slices, in
// queries and in COPY. The number of digits after the point is kept (1.50 stays
// 1.50). A float is refused on either side, and so are NaN and infinities. Open
// calls it for every connection of a pool.
func RegisterTypes(types *pgtype.Map) {
	numeric := &pgtype.Type{Name: "numeric", OID: pgtype.NumericOID, Codec: numericCodec{}}
	types.RegisterType(numeric)
	types.RegisterType(&pgtype.Type{
		Name: "_numeric", OID: pgtype.NumericArrayOID, Codec: &pgtype.ArrayCodec{ElementType: numeric},
	})
	types.RegisterDefaultPgType(decimal.Decimal{}, "numeric")
	types.RegisterDefaultPgType(decimal.NullDecimal{}, "numeric")
	types.RegisterDefaultPgType([]decimal.Decimal{}, "_numeric")
	types.RegisterDefaultPgType([]decimal.NullDecimal{}, "_numeric")
}

var errNotFinite = errors.New("numeric is not a finite number")

// numericCodec is a pgtype.Codec that knows decimal.Decimal and nothing else.
type numericCodec struct{}

var _ pgtype.Codec = numericCodec{}

func (numericCodec) FormatSupported(format int16) bool {
	return format == pgtype.TextFormatCode || format == pgtype.BinaryFormatCode
}

func (numericCodec) PreferredFormat() int16 { return pgtype.BinaryFormatCode }

func (numericCodec) PlanEncode(_ *pgtype.Map, _ uint32, format int16, value any) pgtype.EncodePlan {
	switch value.(type) {
	case decimal.Decimal, decimal.NullDecimal:
		return encodePlan{format}
	}
	return nil
}

func (numericCodec) PlanScan(_ *pgtype.Map, _ uint32, format int16, target any) pgtype.ScanPlan {
	switch target.(type) {
	case *decimal.Decimal, *decimal.NullDecimal:
		return scanPlan{format}
	}
	return nil
}

func (numericCodec) DecodeDatabaseSQLValue(_ *pgtype.Map, _ uint32, format int16, src []byte) (driver.Value, error) {
	if src == nil {
		return nil, nil
	}
	d, err := decodeNumeric(format, src)
	if err != nil {
		return nil, err
	}
	return plainText(d), nil
}

func (numericCodec) DecodeValue(_ *pgtype.Map, _ uint32, format int16, src []byte) (any, error) {
	if src == nil {
		return nil, nil
	}
	return decodeNumeric(format, src)
}

// AppendNumeric appends d as numeric's binary format has it, without a length:
// for who writes COPY by hand. It refuses what numeric can't hold.
func AppendNumeric(buf []byte, d decimal.Decimal) ([]byte, error) {
	if err := checkRange(d); err != nil {
		return buf, err
	}
	return appendNumeric(buf, d), nil
}

type encodePlan struct{ format int16 }

func (p encodePlan) Encode(value any, buf []byte) ([]byte, error) {
	var d decimal.Decimal
	switch v := value.(type) {
	case decimal.Decimal:
		d = v
	case decimal.NullDecimal:
		if !v.Valid {
			return nil, nil
		}
		d = v.Decimal
	default:
		return nil, fmt.Errorf("encode numeric: unexpected %T", value)
	}
	if p.format == pgtype.BinaryFormatCode {
		return AppendNumeric(buf, d)
	}
	if err := checkRange(d); err != nil {
		return nil, err
	}
	return append(buf, plainText(d)...), nil
}

type scanPlan struct{ format int16 }

func (p scanPlan) Scan(src []byte, target any) error {
	if nullable, ok := target.(*decimal.NullDecimal); ok && src == nil {
		*nullable = decimal.NullDecimal{}
		return nil
	}
	if src == nil {
		return fmt.Errorf("cannot scan NULL into %T", target)
	}
	d, err := decodeNumeric(p.format, src)
	if err != nil {
		return err
	}
	switch t := target.(type) {
	case *decimal.Decimal:
		*t = d
	case *decimal.NullDecimal:
		*t = decimal.NewNullDecimal(d)
	default:
		return fmt.Errorf("scan numeric: unexpected %T", target)
	}
	return nil
}

func decodeNumeric(format int16, src []byte) (decimal.Decimal, error) {
	if format == pgtype.BinaryFormatCode {
		return parseNumeric(src)
	}
	d, err := decimal.NewFromString(string(src))
	if err != nil {
		return decimal.Decimal{}, fmt.Errorf("read numeric: %w", errNotFinite)
	}
	return d, nil
}
