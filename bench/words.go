package main

import (
	"strings"

	"github.com/weirstream/weir"
	"github.com/weirstream/weir/connectors/generator"
)

// wordCount is an update: the count of a word after one more of it.
type wordCount struct {
	Word  string
	Count uint64
}

func declareWords(env *weir.Env, p params) {
	source := generator.Range(int64(p.n), func(i uint64) string { return sentence(i, p.keys) }, p.source...)
	env.From("sentences", source).
		FlatMap("split", split).
		KeyBy(weir.Self).
		Process("count", newWordCounter).
		To("sums", sums[wordCount]{word: func(w wordCount) uint64 { return countWord(wordNumber(w.Word), w.Count) }, rate: p.sinkRate})
}

// split emits the words of a sentence. They share its memory.
func split(sentence string, out *weir.Collector[string]) error {
	for {
		i := strings.IndexByte(sentence, ' ')
		if i < 0 {
			out.Emit(sentence)
			return nil
		}
		out.Emit(sentence[:i])
		sentence = sentence[i+1:]
	}
}

// wordCounter counts by word.
type wordCounter struct{ count *weir.Value[uint64] }

func newWordCounter(s *weir.Setup) *wordCounter {
	return &wordCounter{count: s.Value[uint64]("count")}
}

// Process implements weir.Processor.
func (c *wordCounter) Process(_ *weir.Ctx[string], word string, out *weir.Collector[wordCount]) error {
	n, _ := c.count.Get()
	n++
	c.count.Set(n)
	out.Emit(wordCount{word, n})
	return nil
}
