package config

// register keeps values by key, in the order they were first put.
type register[K comparable, V any] struct {
	at    map[K]int
	items []*V // nil where one was removed
}

func (r *register[K, V]) get(k K) *V {
	if i, ok := r.at[k]; ok {
		return r.items[i]
	}
	return nil
}

func (r *register[K, V]) put(k K, v *V) *V {
	if r.at == nil {
		r.at = map[K]int{}
	}
	if i, ok := r.at[k]; ok {
		r.items[i] = v
		return v
	}
	r.at[k] = len(r.items)
	r.items = append(r.items, v)
	return v
}

func (r *register[K, V]) remove(k K) bool {
	i, ok := r.at[k]
	if ok {
		r.items[i] = nil
		delete(r.at, k)
	}
	return ok
}

// all copies the values that are left, in order; nil when there are none.
func (r *register[K, V]) all() []V {
	var out []V
	for _, v := range r.items {
		if v != nil {
			out = append(out, *v)
		}
	}
	return out
}
