// Command protogen compiles the project's .proto files and runs protoc-gen-go and
// protoc-gen-go-grpc on them. It does what protoc or buf would do, without a tool
// that is not built from this module: `make proto` needs Go and make only.
//
// It reads every proto/*/*.proto below -root; output paths are relative to the
// sources, below -out (default: -root). The plugins are looked for beside its own
// executable.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// plugins run in this order; each sees all files.
var plugins = []string{"protoc-gen-go", "protoc-gen-go-grpc"}

func main() {
	root := flag.String("root", ".", "folder that holds proto/")
	out := flag.String("out", "", "folder to write below (default: -root)")
	flag.Parse()
	if *out == "" {
		*out = *root
	}
	if err := run(*root, *out); err != nil {
		fmt.Fprintf(os.Stderr, "protogen: %v\n", err)
		os.Exit(1)
	}
}

func run(root, out string) error {
	files, err := sources(root)
	if err != nil {
		return err
	}
	request, err := compile(root, files)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find plugins: %w", err)
	}
	for _, name := range plugins {
		if err := generate(filepath.Join(filepath.Dir(self), name), request, out); err != nil {
			return err
		}
	}
	return nil
}

// sources lists the .proto files, relative to root, sorted.
func sources(root string) ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(root, "proto", "*", "*.proto"))
	if err != nil {
		return nil, fmt.Errorf("list proto files: %w", err)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("list proto files: none in %s", filepath.Join(root, "proto", "*"))
	}
	for i, p := range paths {
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return nil, fmt.Errorf("list proto files: %w", err)
		}
		paths[i] = filepath.ToSlash(rel)
	}
	slices.Sort(paths)
	return paths, nil
}

// compile parses the files and describes them as a compiler does to its plugins.
// No compiler version is set, so generated headers do not change with ours.
func compile(root string, files []string) (*pluginpb.CodeGeneratorRequest, error) {
	c := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(
			&protocompile.SourceResolver{ImportPaths: []string{root}}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	linked, err := c.Compile(context.Background(), files...)
	if err != nil {
		return nil, fmt.Errorf("compile: %w", err)
	}
	request := &pluginpb.CodeGeneratorRequest{
		FileToGenerate: files,
		Parameter:      proto.String("paths=source_relative"),
	}
	seen := map[string]bool{}
	var add func(f protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) { // imports before importers
		if seen[f.Path()] {
			return
		}
		seen[f.Path()] = true
		imports := f.Imports()
		for i := range imports.Len() {
			add(imports.Get(i).FileDescriptor)
		}
		request.ProtoFile = append(request.ProtoFile, describe(f))
	}
	for _, f := range linked {
		add(f)
	}
	return request, nil
}

// describe returns the file's message, with the comments of its source.
func describe(f protoreflect.FileDescriptor) *descriptorpb.FileDescriptorProto {
	if r, ok := f.(interface {
		FileDescriptorProto() *descriptorpb.FileDescriptorProto
	}); ok {
		return r.FileDescriptorProto()
	}
	return protodesc.ToFileDescriptorProto(f)
}

// generate runs one plugin and writes what it returns below out.
func generate(plugin string, request *pluginpb.CodeGeneratorRequest, out string) error {
	in, err := proto.Marshal(request)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	cmd := exec.Command(plugin)
	cmd.Stdin = bytes.NewReader(in)
	cmd.Stderr = os.Stderr
	answer, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("run %s: %w", plugin, err)
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(answer, &response); err != nil {
		return fmt.Errorf("decode answer of %s: %w", plugin, err)
	}
	if response.Error != nil {
		return fmt.Errorf("run %s: %w", plugin, errors.New(response.GetError()))
	}
	for _, f := range response.File {
		path := filepath.Join(out, filepath.FromSlash(f.GetName()))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
		if err := os.WriteFile(path, []byte(f.GetContent()), 0o644); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
	}
	return nil
}
