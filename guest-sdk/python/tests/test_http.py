"""Asking servers, as far as no server is needed."""

import asyncio
import time
import unittest
from email.utils import formatdate

from tigerflow_task import http, testing


class Http(unittest.TestCase):
    def ask(self, answer, *arguments, **options):
        asked = []

        def servers(request):
            asked.append((request.method, request.url, dict(request.headers), request.body))
            return answer(request) if callable(answer) else answer

        with testing.answer_http(servers):
            response = http.request(*arguments, **options)
        return response, asked

    def test_requests_are_what_servers_expect(self):
        _, [(method, url, headers, body)] = self.ask(
            b"", "post", "https://example.org/a b?x=1", params={"q": "ä"}, json={"a": [1]},
            headers={"X-Key": "k"},
        )
        self.assertEqual((method, body), ("POST", b'{"a":[1]}'))
        self.assertEqual(url, "https://example.org/a b?x=1&q=%C3%A4")
        self.assertEqual(headers["content-length"], "9")
        self.assertEqual(headers["content-type"], "application/json")
        self.assertEqual(headers["x-key"], "k")
        _, [(_, _, headers, body)] = self.ask(b"", "PUT", "http://h/", data={"a": "1 2"})
        self.assertEqual((headers["content-type"], body),
                         ("application/x-www-form-urlencoded", b"a=1+2"))
        self.assertEqual(http._Exchange("GET", "http://h/ä b?c d#e").target, "/%C3%A4%20b?c%20d")
        self.assertEqual(http._Exchange("GET", "http://h").target, "/")

    def test_an_answer_is_read_in_any_way(self):
        response, _ = self.ask(
            (200, {"Content-Type": 'text/plain; charset="latin-1"'}, b"\xe4"), "GET", "http://h/"
        )
        self.assertEqual(response.text, "ä")
        self.assertEqual(response.headers["CONTENT-TYPE"], response.headers.get("content-type"))
        self.assertEqual(self.ask('{"a": 1}', "GET", "http://h/")[0].json(), {"a": 1})
        with self.assertRaisesRegex(http.InvalidJson, "GET h/p: the answer is no JSON: .*: <html>"):
            self.ask("<html>", "GET", "http://h/p?key=secret")[0].json()

    def test_a_bad_status_says_whether_to_try_again(self):
        headers = {"Retry-After": "7"}
        response, _ = self.ask((429, headers, b" slow\n down "), "GET", "http://h/p?key=secret")
        with self.assertRaises(http.HttpStatus) as caught:
            response.raise_for_status()
        error = caught.exception
        self.assertEqual(str(error), "GET h/p: the server answered 429 Too Many Requests: slow down")
        self.assertEqual((error.transient, error.retry_after, error.status), (True, 7, 429))
        date = {"Retry-After": formatdate(time.time() + 60, usegmt=True)}
        response, _ = self.ask((503, date, b""), "GET", "http://h/")
        with self.assertRaises(http.HttpStatus) as caught:
            response.raise_for_status()
        self.assertAlmostEqual(caught.exception.retry_after, 60, delta=2)
        response, _ = self.ask((404, b"none"), "GET", "http://h/")
        with self.assertRaises(http.HttpStatus) as caught:
            response.raise_for_status()
        self.assertFalse(caught.exception.transient)

    def test_redirects_keep_keys_at_home(self):
        def answer(request):
            if request.url == "https://a/form":
                return 302, {"Location": "/next"}, b""
            if request.url == "https://a/next":
                return 307, {"Location": "https://b/end"}, b""
            return b"end"

        response, asked = self.ask(
            answer, "POST", "https://a/form", data="x", headers={"authorization": "k"}
        )
        self.assertEqual((response.url, response.text), ("https://b/end", "end"))
        self.assertEqual([method for method, *_ in asked], ["POST", "GET", "GET"])
        self.assertEqual(["authorization" in headers for _, _, headers, _ in asked],
                         [True, True, False])
        with self.assertRaises(http.TooManyRedirects):
            self.ask((302, {"Location": "/"}, b""), "GET", "http://h/")
        response, _ = self.ask((302, {"Location": "/"}, b""), "GET", "http://h/", redirects=0)
        self.assertEqual(response.status, 302)

    def test_bad_urls_and_long_answers(self):
        for url in ("example.org", "ftp://h/", "http:///x", "http://u:p@h/", "http://ä/"):
            with self.subTest(url), self.assertRaises(http.InvalidUrl) as caught:
                http.get(url)
            self.assertNotIn("u:p", str(caught.exception))
        with self.assertRaises(http.ResponseTooLarge):
            self.ask(b"12345", "GET", "http://h/", max_bytes=4)

    def test_without_a_server_there_is_a_hint(self):
        with self.assertRaisesRegex(http.RequestDenied, "answer_http"):
            http.get("http://h/")

    def test_the_asynchronous_client_is_the_same(self):
        with testing.answer_http(lambda request: b"x"):
            self.assertEqual(asyncio.run(http.aio.get("http://h/")).content, b"x")


if __name__ == "__main__":
    unittest.main()
