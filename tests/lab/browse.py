"""The browser's part of test_browser.py; runs in the guest's namespace.

python browse.py FILE-WITH-TEXTS FOLDER-FOR-SCREENSHOTS
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import staleness_of
from selenium.webdriver.support.ui import WebDriverWait

FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--hide-scrollbars", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip
URL = "http://captive.apple.com/hotspot-detect.html"


def browser(profile: str) -> webdriver.Chrome:
    options = Options()
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    off = ("managed_default_content_settings.javascript", "default_content_setting_values.cookies")
    options.add_experimental_option("prefs", {f"profile.{name}": 2 for name in off})
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    driver.set_page_load_timeout(30)
    screen = {"width": 320, "height": 640, "deviceScaleFactor": 2, "mobile": True}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    return driver


def main(texts: Path, pictures: Path) -> None:
    seen: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as profile:
        driver = browser(profile)

        def look(name: str, picture: bool = True) -> None:
            page = driver.execute_script(
                "return [document.title, document.body.innerText.trim(), document.activeElement.id,"
                "document.documentElement.scrollWidth - document.documentElement.clientWidth]"
            )
            alerts = driver.find_elements(By.CSS_SELECTOR, "[role=alert]")
            fields = driver.find_elements(By.CSS_SELECTOR, "input:not([type=hidden])")
            seen[name] = {
                "url": driver.current_url,
                "title": page[0],
                "text": page[1],
                "focus": page[2],
                "overflow": page[3],
                "alert": alerts[0].text if alerts else None,
                "field": fields[0].get_attribute("value") if fields else None,
            }
            if picture:
                driver.save_screenshot(str(pictures / f"{name.replace(' ', '-')}.png"))

        def type_(field: str, text: str) -> None:
            element = driver.find_element(By.ID, field)
            element.clear()
            element.send_keys(text)
            enter(driver, element)

        driver.get(URL)
        look("first")
        type_("number", "12")
        look("bad number")
        type_("number", "0151 23456789")
        wait_for(lambda: driver.find_elements(By.ID, "code"), "no code page")
        look("code")
        code = wait_for(lambda: code_in(texts), "no text")
        type_("code", "000000" if code != "000000" else "111111")
        look("wrong code")

        # Closed to read the text, and everything forgotten, as phones do.
        driver.quit()
        with tempfile.TemporaryDirectory() as fresh:
            driver = browser(fresh)
            driver.get(URL)
            look("came back")
            type_("code", f"{code[:3]} {code[3:]}")
            wait_for(lambda: "online" in driver.page_source, "not online")
            look("online")
            driver.get(URL)
            look("outside", picture=False)
            driver.get("http://10.77.0.1/")
            enter(driver, driver.find_element(By.CSS_SELECTOR, "button"))
            wait_for(lambda: "logged out" in driver.page_source, "not logged out")
            look("left")
            driver.get(URL)
            look("captive again", picture=False)
            driver.quit()
    print(json.dumps(seen))


def enter(driver: webdriver.Chrome, element: WebElement) -> None:
    """Press Enter until another page comes: before its first paint a page takes no keys."""
    for _ in range(5):
        with contextlib.suppress(StaleElementReferenceException):
            element.send_keys(Keys.ENTER)
        with contextlib.suppress(TimeoutException):
            WebDriverWait(driver, 4).until(staleness_of(element))
            return
    sys.exit(f"nothing follows Enter on {driver.current_url}")


def code_in(texts: Path) -> str:
    found = json.loads(texts.read_text()) if texts.exists() else []
    return str(found[0]["body"][:6]) if found else ""


def wait_for(look: Any, complaint: str) -> Any:
    give_up = time.monotonic() + 20
    while not (found := look()):
        if time.monotonic() > give_up:
            sys.exit(complaint)
        time.sleep(0.2)
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
