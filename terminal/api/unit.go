package api

import (
	"context"
	"net/http"

	"onecard/terminal"
)

// unitRoutes are the calls about motorised card units. The counter page may return a
// card; what takes cards away or gives new ones out is not for its session.
func unitRoutes() []Route {
	const path = "/v1/readers/{id}/unit"
	move := func(do func(*terminal.Service, context.Context, string) (terminal.Unit, error)) func(*Server, http.ResponseWriter, *http.Request) {
		return post(func(s *Server, r *http.Request, _ Empty) (any, error) {
			return do(s.desk, r.Context(), r.PathValue("id"))
		})
	}
	return []Route{
		{Method: "GET", Path: path, Summary: "What a motorised card unit holds and what is wrong with it", Answer: terminal.Unit{},
			serve: get(func(s *Server, r *http.Request) (any, error) { return s.desk.Unit(r.PathValue("id")) })},
		{Method: "POST", Path: path + "/return", Summary: "Bring the card to the mouth of the unit, where its holder takes it", Body: Empty{}, Answer: terminal.Unit{},
			serve: move((*terminal.Service).ReturnCard)},
		{Method: "POST", Path: path + "/capture", Summary: "Bring the card into the reject bin; recorded and audited", Body: Empty{}, Answer: terminal.Unit{}, NoPage: true,
			serve: move((*terminal.Service).CaptureCard)},
		{Method: "POST", Path: path + "/dispense", Summary: "Fetch a new card from the hopper and read it", Body: Empty{}, Answer: terminal.Unit{}, NoPage: true,
			serve: move((*terminal.Service).DispenseCard)},
		{Method: "POST", Path: path + "/emptied", Summary: "Say that the reject bin was emptied: the unit counts from 0", Body: Empty{}, Answer: terminal.Unit{}, NoPage: true,
			serve: move((*terminal.Service).BinEmptied)},
	}
}

// Unit returns what a card unit holds.
func (c *Client) Unit(ctx context.Context, reader string) (out terminal.Unit, err error) {
	return out, c.do(ctx, "GET", readerPath(reader, "/unit"), nil, &out)
}

// ReturnCard brings the card to the mouth of a card unit.
func (c *Client) ReturnCard(ctx context.Context, reader string) (out terminal.Unit, err error) {
	return out, c.do(ctx, "POST", readerPath(reader, "/unit/return"), Empty{}, &out)
}

// CaptureCard brings the card into the reject bin of a card unit.
func (c *Client) CaptureCard(ctx context.Context, reader string) (out terminal.Unit, err error) {
	return out, c.do(ctx, "POST", readerPath(reader, "/unit/capture"), Empty{}, &out)
}

// DispenseCard fetches a new card from the hopper of a card unit.
func (c *Client) DispenseCard(ctx context.Context, reader string) (out terminal.Unit, err error) {
	return out, c.do(ctx, "POST", readerPath(reader, "/unit/dispense"), Empty{}, &out)
}

// BinEmptied says that the reject bin of a card unit was emptied.
func (c *Client) BinEmptied(ctx context.Context, reader string) (out terminal.Unit, err error) {
	return out, c.do(ctx, "POST", readerPath(reader, "/unit/emptied"), Empty{}, &out)
}
