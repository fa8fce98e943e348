@testable import HTTP
import Testing

@Suite struct ValidationTests {
    @Test(
        "only this machine's own names and addresses are kept from a proxy",
        arguments: [
            ("http://localhost/", true), ("https://LocalHost:8443/a", true),
            ("http://bucket.localhost:1/", true),
            ("http://127.0.0.1:80", true), ("http://127.1.2.3?x", true), ("http://[::1]:80/", true),
            ("http://127.example.com/", false), ("http://localhost.example.com/", false),
            ("http://[::2]/", false), ("https://bucket.oss-cn-hangzhou.aliyuncs.com/localhost", false),
        ]
    )
    func loopback(url: String, isToLoopback: Bool) {
        #expect(HTTPRequest(method: .get, url: url).isToLoopback == isToLoopback)
    }
}
