import { mount } from "svelte";
import "./base.css";
import Page from "./Page.svelte";

mount(Page, { target: document.getElementById("page")! });
