"""Looks at the status page in headless Chromium; called by .ci/page.

usage: page.py BINARY FOLDER RULES PICTURES

FOLDER holds countersign.toml and its certificates, RULES is axe-core's script (or
empty), PICTURES a folder for screenshots (or empty). Prints one line a check.
"""

import base64
import glob
import http.server
import json
import os
import re
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time

from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

BINARY, FOLDER, RULES, PICTURES = sys.argv[1:5]
failures = 0


def main():
    os.chdir(FOLDER)
    service = serve()
    proxy = Countersign()
    browser = None
    try:
        traffic = Traffic(proxy.listener)
        browser = Browser(proxy.admin)
        if PICTURES:
            traffic.an_hour()
        traffic.begin()
        if PICTURES:
            pictures(browser)
        else:
            look(browser, proxy, traffic)
            change(browser, proxy, traffic)
    finally:
        if browser:
            browser.driver.quit()
        proxy.end()
        service.shutdown()
    print(f"page: {failures} failed")
    return 1 if failures else 0


# ---- the checks


def look(browser, proxy, traffic):
    browser.open("/")
    text = browser.text()
    for words in [
        "ready",
        "orders",
        "unix:service.sock",
        "spiffe://prod.example/web",
        "Example Clients CA 2021",
        "certificate required (partners)",
        "untrusted",
        "Needs:",
        "1 of 2 endpoints are failing",
        "own certificate",
        "revocation list",
        "denied",
        "Generation 1",
    ]:
        check(f"the page shows: {words}", words in text, text)
    check("names of strangers are shown, and are no markup", "alert(1)" in browser.opened_text(), "")
    check("the page has one script, its own", len(browser.all("script")) == 1, "")
    said = browser.complaints()
    check("the browser has nothing to complain of", not said, said)
    asked = browser.asked()
    elsewhere = [url for url in asked if not url.startswith((proxy.admin, "data:"))]
    check("nothing is asked for from elsewhere", asked and not elsewhere, asked)

    before = browser.element("when").text
    browser.driver.execute_script("document.querySelector('#peers').scrollIntoView()")
    traffic.begin_more()
    check("the page refreshes itself", await_(12, lambda: browser.element("when").text != before), before)
    check("and asks for nothing but itself", {u for u in browser.asked() if not u.startswith("data:")} <= {proxy.admin + "/"}, "")
    opened(browser)
    for scheme in ["light", "dark"]:
        for width in [360, 1280]:
            browser.show(scheme, width)
            browser.open("/")
            sideways = browser.js("return document.documentElement.scrollWidth - innerWidth")
            check(f"nothing is beyond the edge, {scheme}, {width} px", sideways <= 0, f"{sideways} px: {browser.beyond()}")
            rules(browser, f"{scheme}, {width} px")
    browser.show("light", 1280)
    by_keyboard(browser)
    without_script(browser)
    stale(browser)


def opened(browser):
    """What the reader has opened stays open, and what has the focus keeps it."""
    summary = browser.driver.find_element(By.CSS_SELECTOR, "#refusals .entries summary")
    browser.js("document.querySelector('#refusals .entries summary').focus()")
    summary.send_keys(Keys.ENTER)
    before = browser.element("when").text
    await_(12, lambda: browser.element("when").text != before)
    state = browser.js(
        "const o = document.querySelector('#refusals .entries details[open]');"
        "return [!!o, document.activeElement.localName]"
    )
    check("what was opened stays open, and keeps the focus", state == [True, "summary"], state)


def rules(browser, where):
    """The rules of axe-core: contrast, names, landmarks, headings, tables."""
    if not RULES:
        return
    with open(RULES, encoding="utf-8") as file:
        source = file.read()
    # Past the page's policy, as the tools of a browser are.
    browser.driver.execute_cdp_cmd("Runtime.evaluate", {"expression": source})
    browser.js("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    found = browser.driver.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "axe.run(document, { resultTypes: ['violations'] }).then((r) => done(r.violations), (e) => done([{ id: String(e), nodes: [] }]))"
    )
    told = [f"{one['id']}: {one.get('help')}: " + "; ".join(n["html"][:160] for n in one["nodes"][:3]) for one in found]
    check(f"no rule of axe-core is broken, {where}", not found, "\n".join(told))


def by_keyboard(browser):
    browser.open("/")
    order = []
    for _ in range(14):
        browser.driver.switch_to.active_element.send_keys(Keys.TAB)
        order.append(browser.js(
            "const e = document.activeElement, s = getComputedStyle(e);"
            "return [e.className, e.getAttribute('href') || e.id || e.localName, s.outlineStyle !== 'none']"
        ))
    check("the first stop of the keyboard skips to the content", order[0][:2] == ["skip", "#main"], order)
    places = [place for _, place, _ in order]
    check("then come the sections, in their order", ordered(places, ["#attention", "#traffic", "#refusals", "#process"]), order)
    check("where the focus is can be seen", all(seen for _, _, seen in order), order)
    browser.open("/")
    browser.driver.switch_to.active_element.send_keys(Keys.TAB)
    browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
    landed = await_(5, lambda: browser.js("return document.activeElement.id") == "main")
    check("the skip link leads to the content", landed, "")
    landmarks = browser.js("return ['header', 'nav', 'main', 'footer', 'h1'].map((n) => document.querySelectorAll(n).length)")
    check("there is one of each landmark", landmarks == [1, 1, 1, 1, 1], landmarks)


def ordered(places, wanted):
    found = [places.index(place) for place in wanted if place in places]
    return len(found) == len(wanted) and found == sorted(found)


def without_script(browser):
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.open("/")
    source = browser.driver.page_source
    check("the page is whole without its script", all(words in source for words in ["spiffe://prod.example/web", "<svg", "http-equiv=\"refresh\""]), source)
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def stale(browser):
    """A page whose program has gone says so."""
    browser.open("/")
    browser.complaints()
    browser.driver.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    browser.driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    told = await_(25, lambda: "what is shown here is old" in browser.text())
    check("a page that gets no answer says that it is old", told, browser.text()[:300])
    online = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.driver.execute_cdp_cmd("Network.emulateNetworkConditions", online)
    # It has complained of what it could not get.
    await_(12, lambda: "what is shown here is old" not in browser.text())
    browser.complaints()


def change(browser, proxy, traffic):
    """The buttons, as a reader presses them."""
    browser.open("/")
    browser.driver.find_element(By.CSS_SELECTOR, "#trust button[value=reload]").click()
    told = await_(20, lambda: "nothing has changed" in browser.text())
    check("the button that reloads says what came of it", told, browser.text()[:500])
    gone = await_(5, lambda: browser.driver.current_url == proxy.admin + "/")
    check("and its word is gone from the address", gone, browser.driver.current_url)
    with open("countersign.toml", encoding="utf-8") as file:
        config = file.read()
    replace("countersign.toml", config.replace("crl_missing = \"allow\"", "crl_missing = \"allow\"\nmax_shrink = \"0%\"").replace(", \"pki/old.pem\"]", "]"))
    browser.open("/")
    held = await_(20, lambda: (browser.open("/"), "waits to be confirmed" in browser.text())[1])
    check("a bundle that is held back is shown", held, browser.text()[:800])
    browser.driver.find_element(By.ID, "accept-partners").find_element(By.TAG_NAME, "summary").click()
    browser.driver.find_element(By.CSS_SELECTOR, "button[value=accept]").click()
    told = await_(20, lambda: "changed on the disk is in force" in browser.text())
    text = browser.text()
    check("the button that accepts it puts it in force", told and "waits to be confirmed" not in text, text[:800])
    said = browser.complaints()
    check("the browser has nothing to complain of after that", not said, said)
    traffic.end()
    browser.driver.find_element(By.ID, "drain").find_element(By.TAG_NAME, "summary").click()
    browser.driver.find_element(By.CSS_SELECTOR, "button[value=drain]").click()
    check("the button that drains ends the process", await_(20, lambda: proxy.process.poll() is not None), "")
    check("with exit code 0", proxy.process.poll() == 0, proxy.process.poll())


def pictures(browser):
    for scheme in ["light", "dark"]:
        browser.show(scheme, 1280)
        browser.open("/")
        browser.picture(os.path.join(PICTURES, scheme + ".png"), 1150)
    for scheme, width, name in [("light", 1280, "trust"), ("dark", 390, "phone")]:
        browser.show(scheme, width)
        browser.open("/")
        browser.section_picture("trust", os.path.join(PICTURES, name + ".png"))


# ---- what is looked at, and with what


class Browser:
    """Headless Chromium on the page."""

    def __init__(self, base):
        self.base = base
        options = Options()
        for argument in ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars"]:
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
        self.driver.set_page_load_timeout(60)
        self.show("light", 1280)

    def show(self, scheme, width, height=900):
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def open(self, path):
        self.driver.get(self.base + path)

    def element(self, name):
        return self.driver.find_element(By.ID, name)

    def all(self, name):
        return self.driver.find_elements(By.TAG_NAME, name)

    def text(self):
        try:
            return self.driver.find_element(By.TAG_NAME, "body").text
        except WebDriverException:
            # Another page is on its way.
            return ""

    def opened_text(self):
        return self.js("return document.body.textContent")

    def js(self, source):
        return self.driver.execute_script(source)

    def beyond(self):
        return self.js(
            "return [...document.querySelectorAll('main *')].filter((e) => e.getBoundingClientRect().right > innerWidth + 1)"
            ".slice(0, 5).map((e) => e.outerHTML.slice(0, 120))"
        )

    def complaints(self):
        return [line["message"] for line in self.driver.get_log("browser")]

    def asked(self):
        urls = []
        for line in self.driver.get_log("performance"):
            message = json.loads(line["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                urls.append(message["params"]["request"]["url"])
        return urls

    def picture(self, path, height):
        width = self.js("return innerWidth")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        self.save(path, clip)

    def section_picture(self, section, path):
        box = self.js(
            f"const r = document.getElementById('{section}').getBoundingClientRect();"
            "return [r.x, r.y + scrollY, r.width, r.height]"
        )
        clip = {"x": max(box[0] - 8, 0), "y": box[1] - 4, "width": box[2] + 16, "height": min(box[3] + 8, 1100), "scale": 1}
        self.save(path, clip)

    def save(self, path, clip):
        parameters = {"format": "png", "captureBeyondViewport": True, "clip": clip}
        data = self.driver.execute_cdp_cmd("Page.captureScreenshot", parameters)["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))


class Countersign:
    """The release binary on the config of the folder."""

    def __init__(self):
        environment = dict(os.environ)
        if PICTURES:
            library = glob.glob("/usr/lib*/*/faketime/libfaketimeMT.so.1")[0]
            environment |= {"LD_PRELOAD": library, "FAKETIME": "+0d x45"}
        self.log = open("countersign.log", "w+", encoding="utf-8")
        command = [BINARY, "run", "--config", "countersign.toml"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=self.log, env=environment)
        if not await_(20, lambda: "server.started" in self.said()):
            raise SystemExit("it did not start:\n" + self.said())
        self.admin = "http://" + self.address("admin.ready")
        self.listener = int(self.address("listener.ready listener=public").rsplit(":", 1)[1])

    def said(self):
        with open("countersign.log", encoding="utf-8") as file:
            return file.read()

    def address(self, event):
        return re.search("event=" + event + r".*?address=(\S+)", self.said()).group(1)

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=40)
            except subprocess.TimeoutExpired:
                self.process.kill()


class Traffic:
    """Callers of every kind."""

    def __init__(self, port):
        self.port = port
        self.open = []

    def begin(self):
        self.hold("orders", ["/orders/1"] * 3)
        self.hold("web", ["/orders/1", "/orders/2", "/reports/today"])
        self.hold("billing", ["/orders/7"])
        self.hold("guest", ["/orders/1", "/nowhere"])
        for name in ["unknown", "revoked", None]:
            self.refused(name)

    def begin_more(self):
        self.hold("web", ["/orders/1"] * 5)
        self.refused(None)

    def an_hour(self):
        """A morning of an hour, in eighty seconds of another clock."""
        begun, turn = time.monotonic(), 0
        while (past := time.monotonic() - begun) < 82:
            turn += 1
            if len(self.open) < 3 + past / 6:
                self.hold(["orders", "web", "billing"][len(self.open) % 3], ["/orders/1"])
            # More and more, with a dip.
            for _ in range(2 if 40 < past < 46 else int(4 + past / 8)):
                ask(self.open[turn % len(self.open)], "/orders/1")
            if turn % 15 == 0:
                self.hold("guest", ["/orders/1"], keep=False)
            if turn % 4 == 0:
                self.hold("web", ["/reports/today"], keep=False)
            if 52 < past < 60 and turn % 5 == 0:
                self.refused("unknown")
            time.sleep(0.05)

    def context(self, name):
        context = ssl.create_default_context(cafile="pki/ca.pem")
        context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
        if name:
            context.load_cert_chain(f"pki/{name}.pem", f"pki/{name}.key")
        return context

    def connect(self, name):
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        return self.context(name).wrap_socket(plain, server_hostname="localhost")

    def hold(self, name, paths, keep=True):
        stream = self.connect(name)
        for path in paths:
            ask(stream, path)
        if keep:
            self.open.append(stream)
        else:
            stream.close()

    def refused(self, name):
        try:
            with self.connect(name) as stream:
                stream.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                stream.recv(1)
        except OSError:
            return
        raise SystemExit(f"{name} was let in")

    def end(self):
        for stream in self.open:
            stream.close()
        self.open = []


def ask(stream, path):
    """Asks for a path, and reads one response with a Content-Length."""
    stream.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    data = b""
    while b"\r\n\r\n" not in data:
        more = stream.recv(4096)
        if not more:
            raise SystemExit(f"no whole answer: {data}")
        data += more
    head, body = data.split(b"\r\n\r\n", 1)
    length = int(re.search(rb"(?i)content-length: (\d+)", head).group(1))
    while len(body) < length:
        body += stream.recv(4096)


class OverUnix(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """A service on a unix socket."""

    daemon_threads = True


class Hello(http.server.BaseHTTPRequestHandler):
    """Says hello."""

    protocol_version = "HTTP/1.1"

    def handle(self):
        try:
            super().handle()
        except OSError:
            pass

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"hello\n")

    def log_message(self, *_):
        pass

    def address_string(self):
        return "unix"


def serve():
    service = OverUnix("service.sock", Hello)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    return service


def replace(path, content):
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(content)
    os.rename(path + ".new", path)


def await_(seconds, fits):
    deadline = time.monotonic() + seconds
    while not fits():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def check(name, passed, said):
    global failures
    if passed:
        print(f"ok   {name}", flush=True)
        return
    failures += 1
    print(f"FAIL {name}")
    for line in str(said).splitlines()[-40:]:
        print(f"     | {line}")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
