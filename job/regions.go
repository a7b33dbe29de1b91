package job

// Regions are the connected components of the graph: sets of vertices that fail
// and restart together. Each is sorted; they are sorted by their first vertex.
func (g *Graph) Regions() [][]VertexID {
	root := make([]VertexID, len(g.Vertices))
	for i := range root {
		root[i] = VertexID(i)
	}
	find := func(v VertexID) VertexID {
		for root[v] != v {
			v = root[v]
		}
		return v
	}
	for _, e := range g.Edges {
		a, b := find(e.From), find(e.To)
		root[max(a, b)] = min(a, b)
	}
	var regions [][]VertexID
	index := map[VertexID]int{}
	for v := range g.Vertices {
		r := find(VertexID(v))
		i, ok := index[r]
		if !ok {
			i = len(regions)
			index[r] = i
			regions = append(regions, nil)
		}
		regions[i] = append(regions[i], VertexID(v))
	}
	return regions
}
