import Testing
import ThawCore

@Suite("JSON")
struct JSONTests {
    private func read(_ text: String) -> JSON? { JSON(Array(text.utf8)) }

    @Test("a document is read whole, escapes included")
    func whole() {
        let json = read(#" {"a":"x\n\u4e2d\ud83d\ude00\"é","n":-1.5e3,"l":[true,false,null,{}],"o":{"k":1}} "#)
        #expect(json?["a"] == "x\n中😀\"é")
        #expect(json?["n"]?.number == -1500)
        #expect(json?["l"]?.array == [true, false, .null, [:]])
        #expect(json?["l"]?.array?.first?.bool == true)
        #expect(json?["o"]?["k"]?.int == 1)
        #expect(json?["missing"] == nil)
        #expect(json?["a"]?["x"] == nil)
    }

    @Test(
        "what is not JSON is refused",
        arguments: [
            "", " ", "{", #"{"a"}"#, #"{"a":}"#, "{a:1}", "[1,]", "[1 2]", #"{"a":1,}"#, "{} x", "1 2", "tru", "nul", "True",
            "\"a", "\"\\x\"", "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\udc00\"", "\"\\u12g4\"", "\"a\nb\"",
            "01", "-", "+1", "1.", ".5", "1e", "1e+", "0x1", "1e999", "NaN", "Infinity",
        ])
    func refused(_ text: String) { #expect(read(text) == nil) }

    @Test("bytes that are no UTF-8 are refused in a string")
    func noText() { #expect(JSON([0x22, 0xFF, 0x22]) == nil) }

    @Test("nesting is bounded")
    func deep() {
        #expect(read(String(repeating: "[", count: 100_000)) == nil)
        #expect(read(String(repeating: "[", count: 32) + String(repeating: "]", count: 32)) != nil)
        #expect(read(String(repeating: "[", count: 33) + String(repeating: "]", count: 33)) == nil)
    }

    @Test("integers are exact to the ends of Int64, and near beyond")
    func integers() {
        for integer: Int64 in [0, -1, 9_007_199_254_740_993, .max, .min] {
            #expect(read("\(integer)") == .integer(integer))
            #expect(JSON.integer(integer).text == "\(integer)")
        }
        #expect(read("9223372036854775808") == .number(9223372036854775808))
        #expect(JSON(UInt64.max) == .number(18446744073709551616))
        #expect(JSON(7) == 7)
        #expect(read("2.0")?.int == 2)
        #expect(read("2.5")?.int == nil)
    }

    @Test("what is written has its members sorted, escapes what must be, and is read back as it was")
    func written() {
        let json: JSON = [
            "b": ["x\"\\\n\u{1}é🙂/", .null, true, .number(-2.5)], "a": [:], "": .array([]), "n": .null,
            "é": 1,
        ]
        #expect(json.text == #"{"":[],"a":{},"b":["x\"\\\n\u0001é🙂/",null,true,-2.5],"n":null,"é":1}"#)
        #expect(read(json.text) == json)
    }

    @Test("a number that JSON cannot say is written as null")
    func infinite() {
        for number in [Double.infinity, -.infinity, .nan] { #expect(JSON.number(number).text == "null") }
        #expect(read(JSON.number(1e300).text) == .number(1e300))
    }
}
