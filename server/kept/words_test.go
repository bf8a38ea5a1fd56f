package kept

import "testing"

// A new kind of value is refused until the list says what it holds of people.
func TestTheStoreTakesNothingOfWhichNobodyKnowsWhoseItIs(t *testing.T) {
	st, ctx := newWorld(t).Store, t.Context()
	if _, err := st.Put(ctx, "novelty.1", []byte("x")); err == nil {
		t.Error("it was put")
	}
	if _, err := st.Create(ctx, "novelty.1", []byte("x")); err == nil {
		t.Error("it was made")
	}
	if _, err := st.CompareAndPut(ctx, "novelty", []byte("x"), 1); err == nil {
		t.Error("it was put over")
	}
	if _, err := st.Append(ctx, "novelties", []byte("x")); err == nil {
		t.Error("it was appended")
	}
	if _, err := st.Get(ctx, "novelty.1"); err == nil {
		t.Error("and is there")
	}
}

func TestOfEachWordTheListSaysWhoseItIs(t *testing.T) {
	for _, k := range kinds {
		if k.find == nil && k.none == "" && k.elsewhere == "" {
			t.Errorf("nothing says what %q holds", k.word)
		}
	}
}
