package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certificate writes one that is its own issuer, for 127.0.0.1.
func certificate(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "weir"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// TestTLS: a cluster with certificate and token takes who has both, and says to others
// what to type.
func TestTLS(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	cert, key := certificate(t, dir)
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := newCluster(t, layout{taskManagers: 1, slots: 2, late: true, settings: []string{"rest.tls.cert-file=" + cert, "rest.tls.key-file=" + key, "rest.token-file=" + token}})
	for _, p := range append(append([]*process{}, c.managers...), c.tasks...) {
		p.start(t)
	}
	until(t, "the TaskManager is registered", func() bool { return strings.Contains(c.tasks[0].text(), "registered with JobManager") })
	as := func(env []string, args ...string) said {
		t.Helper()
		return beginUnder(t, append([]string{"env"}, env...), root, args...).await()
	}
	trusted, known := "SSL_CERT_FILE="+cert, "WEIR_TOKEN=0123456789abcdef"
	secure := "https://" + c.rest[0]
	complaint(t, as([]string{known}, "-m", c.rest[0], "list"), 2, "speaks TLS only", "-m "+secure)
	complaint(t, as([]string{known}, "-m", secure, "list"), 1, "does not know who signed it", "SSL_CERT_FILE=")
	complaint(t, as([]string{trusted}, "-m", secure, "list"), 1, "the token is missing or wrong", "WEIR_TOKEN")
	complaint(t, as([]string{trusted, known}, "-m", strings.Replace(secure, "127.0.0.1", "localhost", 1), "list"), 1, "is not accepted")
	if s := as([]string{trusted, known}, "-m", secure, "run", trouble(t), "--", "-n", "2000"); s.code != 0 {
		t.Errorf("a job by TLS: %v", s)
	}
	if s := as([]string{trusted, known, "WEIR_JOBMANAGER=" + secure}, "list", "-o", "name"); s.code != 0 || s.stdout == "" {
		t.Errorf("list: %v", s)
	}
}
